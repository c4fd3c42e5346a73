import { describe, expect, it } from 'vitest';
import type { MatchedSpan } from '../../functions/core/alignment/index.ts';
import {
  asUploaded,
  doubtful,
  excerptOf,
  likeness,
  Stretch,
} from '../../functions/core/alignment/other-speeds.ts';
import { StoredReference } from '../../functions/core/alignment/similarity.ts';
import { SegmentGrid } from '../../functions/core/segment-grid.ts';
import { quantise } from '../../functions/core/segments.ts';
import { differenceDb, lagOf, music } from '../support/audio.ts';
import { compose, embed, randomness } from '../support/synthetic-music.ts';

const RATE = 16_000;
const grid = new SegmentGrid({ sampleRate: RATE, segmentSamples: 37_109, hopSamples: 8_000 });

const span = (uploadStartMs: number, uploadEndMs: number, confidence: number, referenceStartMs = 0) =>
  ({
    referenceId: 'song',
    uploadStartMs,
    uploadEndMs,
    referenceStartMs,
    referenceEndMs: referenceStartMs + uploadEndMs - uploadStartMs,
    speed: 1,
    confidence,
  }) as MatchedSpan;

describe('a stretch of an upload', () => {
  it('sounds like the original when it is played at its speed', () => {
    // The tune is the same at every rate: what holds it in 1/1.25 of the samples plays it 1.25 times as fast.
    const uploaded = new Stretch(0, music(20, (RATE * Stretch.OVERSAMPLING) / 1.25), grid);

    const played = uploaded.played(1.25, 0, 16_000);

    expect(played.length).toBe(grid.samplesFor(grid.segmentsIn(20 * RATE)));
    expect(lagOf(played, music(20), 5 * RATE)).toBe(0);
    expect(lagOf(played, music(20), 15 * RATE)).toBe(0);
    expect(differenceDb(played, music(20).subarray(0, played.length))).toBeLessThan(-15);
  });

  it.each([0.8, 1, 1.25])('plays at speed %d without what the rate of the model cannot hold', (speed) => {
    const rate = RATE * Stretch.OVERSAMPLING;
    const tone = Float32Array.from({ length: 4 * rate }, (_, i) =>
      Math.sin((2 * Math.PI * 12_500 * i) / rate),
    );

    const played = new Stretch(0, tone, grid).played(speed, 0, 4_000).subarray(RATE, 2 * RATE);

    expect(played.every((x) => Math.abs(x) < 0.01)).toBe(true);
  });

  it('ends where the upload does', () => {
    const uploaded = new Stretch(5_000, music(4, RATE * Stretch.OVERSAMPLING), grid);

    expect(uploaded.toMs).toBeCloseTo(9_000);
    expect(uploaded.played(1, 5_000, 60_000).length).toBe(grid.samplesFor(grid.segmentsIn(4 * RATE - 1)));
    expect(uploaded.played(1, 8_000, 9_000).length).toBe(0);
  });
});

describe('an excerpt of a possible match', () => {
  it.each([0.8, 1, 1.25])('begins where a segment of the reference does, at speed %d', (speed) => {
    const stretch = new Stretch(0, new Float32Array(60 * RATE * Stretch.OVERSAMPLING), grid);
    const possible = span(20_130, 33_270, 0.5, 47_310);

    const { fromMs, toMs, firstSegment } = excerptOf(possible, speed, grid, stretch);

    const [middle, reference] = [(20_130 + 33_270) / 2, (47_310 + 47_310 + 13_140) / 2];
    expect(reference + (fromMs - middle) * speed).toBeCloseTo(firstSegment * grid.hopMs);
    expect(fromMs).toBeGreaterThanOrEqual(middle - 4_000);
    expect(toMs).toBe(middle + 4_000);
  });
});

describe('the likeness of an excerpt and a reference', () => {
  const random = randomness(5);
  const song = embed(compose(60, random));
  const reference = new StoredReference('song', { ...song, vectors: quantise(song.vectors) });
  const dimension = song.vectors.length / song.segments.length;
  const from = (segment: number) => ({
    segments: Uint32Array.from({ length: 8 }, (_, i) => i),
    vectors: song.vectors.slice(segment * dimension, (segment + 8) * dimension),
  });

  it('is high in the right place and beside it, and nowhere else', () => {
    expect(likeness(from(40), reference, 40)).toBeGreaterThan(0.98);
    expect(likeness(from(40), reference, 41)).toBeGreaterThan(0.98);
    expect(likeness(from(40), reference, 60)).toBeLessThan(0.7);
  });

  it('is nothing where too little of the reference is left', () => {
    expect(likeness(from(40), reference, song.segments.length - 1)).toBe(-1);
    expect(likeness({ segments: new Uint32Array(0), vectors: new Float32Array(0) }, reference, 0)).toBe(-1);
  });
});

describe('doubts', () => {
  it('are those below the threshold where nothing is sure, the best first', () => {
    const spans = [
      span(0, 10_000, 0.9),
      span(1_000, 9_000, 0.4),
      span(20_000, 30_000, 0.2),
      span(40_000, 50_000, 0.6),
    ];

    expect(doubtful(spans, 0.8, 60_000)).toEqual([spans[3], spans[2]]);
  });

  it('are few, and more in a long upload', () => {
    const spans = Array.from({ length: 100 }, (_, i) => span(i * 20_000, i * 20_000 + 5_000, i / 200));

    expect(doubtful(spans, 0.8, 60_000).length).toBe(2);
    expect(doubtful(spans, 0.8, 33 * 60_000).length).toBe(8);
    expect(doubtful(spans, 0.8, 24 * 3_600_000).length).toBe(8);
  });
});

describe('a span of what was played at another speed', () => {
  it('lies where it was uploaded, and has both speeds', () => {
    const found = { ...span(5_000, 15_000, 0.9, 60_000), speed: 1.02 };

    const uploaded = asUploaded(found, 1.25, 30_000);

    expect(uploaded).toMatchObject({ uploadStartMs: 34_000, uploadEndMs: 42_000, referenceStartMs: 60_000 });
    expect(uploaded.speed).toBeCloseTo(1.275);
  });
});
