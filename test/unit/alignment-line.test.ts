import { describe, expect, it } from 'vitest';
import { fitLine, type Line, type Point, positionAt } from '../../functions/core/alignment/line.ts';
import { Similarity, StoredReference } from '../../functions/core/alignment/similarity.ts';
import { traceLine } from '../../functions/core/alignment/trace.ts';
import { Calibration } from '../../functions/core/confidence.ts';
import { quantise } from '../../functions/core/segments.ts';
import { compose, embed, randomness } from '../support/synthetic-music.ts';

const random = randomness(3);
const GUESS: Line = { upload: 10, position: 110.4, slope: 1.02 };

function scattered(truth: Line, count: number, scatter: number): Point[] {
  return Array.from({ length: count }, (_, i) => ({
    upload: i,
    position: positionAt(truth, i) + scatter * random.normal(),
    weight: 1,
  }));
}

describe('fitLine', () => {
  it('finds offset and speed through scatter', () => {
    const truth = { upload: 0, position: 100.3, slope: 1.08 };

    const line = fitLine(scattered(truth, 40, 0.15), GUESS);

    expect(line.slope).toBeCloseTo(1.08, 2);
    expect(Math.abs(positionAt(line, 20) - positionAt(truth, 20))).toBeLessThan(0.1);
  });

  it('is not moved by a fifth of the points lying elsewhere', () => {
    const truth = { upload: 0, position: 100.3, slope: 1.08 };
    const points = scattered(truth, 40, 0.1).map((point, i) =>
      i % 5 === 2 ? { ...point, position: point.position + 1 } : point,
    );

    const line = fitLine(points, GUESS);

    expect(Math.abs(positionAt(line, 20) - positionAt(truth, 20))).toBeLessThan(0.12);
  });

  it('prefers the original speed where the points cannot tell', () => {
    const truth = { upload: 0, position: 100.3, slope: 1 };

    const line = fitLine(scattered(truth, 12, 0.15), GUESS);

    expect(line.slope).toBe(1);
  });

  it('keeps the slope it was given when there are too few points for one', () => {
    const points = scattered({ upload: 0, position: 100, slope: 1.6 }, 4, 0);

    const line = fitLine(points, { upload: 0, position: 100, slope: 1.5 });

    expect(line.slope).toBe(1.5);
  });
});

describe('traceLine', () => {
  it('comes to nothing where nothing of the reference is stored', () => {
    const song = embed(compose(20, random));
    const quantised = { ...song, vectors: quantise(song.vectors) };
    const reference = new StoredReference('song', quantised);
    const similarity = new Similarity(quantised, [reference], Calibration.parse({}));
    const trace = (position: number) =>
      traceLine({ upload: 5, position, slope: 1 }, 5, song.segments, reference, similarity);

    expect(trace(5)?.steps.length).toBeGreaterThan(5);
    expect(trace(1000)).toBeUndefined();
  });
});
