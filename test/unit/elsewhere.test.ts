import { expect, it } from 'vitest';
import { likelyPlaces } from '../../functions/core/alignment/elsewhere.ts';
import { StoredReference } from '../../functions/core/alignment/similarity.ts';
import { SegmentGrid } from '../../functions/core/segment-grid.ts';
import { quantise } from '../../functions/core/segments.ts';
import { seededRandom } from '../support/audio.ts';

const grid = new SegmentGrid({ sampleRate: 16_000, segmentSamples: 37_109, hopSamples: 8_000 });
const DIMENSION = 32;
const random = seededRandom(3);
/** A bar of music: so many segments that have nothing to do with each other, as unit vectors. */
const bar = (segments: number): number[][] =>
  Array.from({ length: segments }, () => {
    const vector = Array.from({ length: DIMENSION }, () => random() - 0.5);
    const length = Math.hypot(...vector);
    return vector.map((x) => x / length);
  });
const quantised = (vectors: number[][], first = 0) => ({
  segments: Uint32Array.from(vectors, (_, i) => first + i),
  vectors: quantise(Float32Array.from(vectors.flat())),
});
/** `vectors` as the upload's segments from `first` on, all of them in the span. */
const heardAt = (first: number, vectors: number[][]) => ({
  heard: quantised(vectors, first),
  span: {
    uploadStartMs: grid.startMs(first),
    uploadEndMs: grid.startMs(first + vectors.length - 1) + grid.segmentMs,
    referenceStartMs: 0,
    referenceEndMs: 0,
    speed: 1,
  },
});

it('finds every place of a loop, the one that is most alike first', () => {
  const [intro, loop, bridge] = [bar(30), bar(12), bar(20)];
  const nearly = loop.map((vector) => vector.map((x, d) => x + (d % 2 ? 0.02 : -0.02)));
  const reference = new StoredReference('song', quantised([...intro, ...nearly, ...bridge, ...loop]));
  const { heard, span } = heardAt(7, loop.slice(2, 8));

  const places = likelyPlaces(span, heard, reference, grid);

  // Segment 7 of the upload is segment 64 of the recording, or segment 32.
  expect(places).toEqual([(64 - 7) * grid.hopMs, (32 - 7) * grid.hopMs]);
});

it('finds one place of what is there once', () => {
  const song = bar(80);
  const reference = new StoredReference('song', quantised(song));
  const { heard, span } = heardAt(0, song.slice(40, 50));

  expect(likelyPlaces(span, heard, reference, grid)).toEqual([40 * grid.hopMs]);
});

it('finds none where nothing was heard', () => {
  const reference = new StoredReference('song', quantised(bar(10)));
  const { span } = heardAt(0, bar(5));

  expect(likelyPlaces(span, quantised([]), reference, grid)).toEqual([]);
});
