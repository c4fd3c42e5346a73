import { describe, expect, it } from 'vitest';
import { likelyPlaces, withoutDoubles } from '../../functions/core/alignment/elsewhere.ts';
import type { MatchedSpan } from '../../functions/core/alignment/index.ts';
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

describe('matches that were found twice', () => {
  const THRESHOLD = 0.8;
  /** `[fromMs, toMs)` of the upload, `aheadMs` further on in the recording. */
  const match = (fromMs: number, toMs: number, aheadMs: number, confidence = 0.99, referenceId = 'song') =>
    ({
      referenceId,
      uploadStartMs: fromMs,
      uploadEndMs: toMs,
      referenceStartMs: fromMs + aheadMs,
      referenceEndMs: toMs + aheadMs,
      confidence,
    }) as MatchedSpan;
  const single = (...spans: MatchedSpan[]) => withoutDoubles(spans, THRESHOLD, grid.hopMs);

  it('are the longer one, however sure the other is', () => {
    const [piece, whole] = [match(127_100, 139_800, 20_033, 0.9999), match(127_400, 157_700, 20_000, 0.95)];

    expect(single(piece, whole)).toEqual([whole]);
  });

  it('are the shorter one where the longer one is not sure', () => {
    const [sure, perhaps] = [match(10_000, 18_000, 0), match(9_000, 30_000, 0, 0.5)];

    expect(single(perhaps, sure)).toEqual([perhaps, sure]);
    expect(single(match(9_000, 20_000, 0, 0.5), sure)).toEqual([sure]);
  });

  it.each([
    ['other places of the recording', match(12_000, 20_000, 5_000)],
    ['other recordings', match(12_000, 20_000, 0, 0.99, 'another song')],
    ['other stretches of the upload', match(28_000, 40_000, 0)],
  ])('are not those of %s', (_, other) => {
    const first = match(10_000, 30_000, 0);

    expect(single(other, first)).toEqual([first, other]);
  });
});
