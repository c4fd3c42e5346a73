import { describe, expect, it } from 'vitest';
import { SegmentGrid } from '../../functions/core/segment-grid.ts';
import { hitColumns, QUANTISED_ONE } from '../../functions/core/segments.ts';
import { audibleSegments } from '../../functions/core/silence.ts';
import { encodeWindow, joinWindows } from '../../functions/scan/window-record.ts';
import { forEachConcurrently } from '../../functions/steps/pool.ts';

async function* numbers(count: number) {
  for (let i = 0; i < count; i++) yield i;
}

describe('forEachConcurrently', () => {
  it('never runs more than the limit', async () => {
    let running = 0;
    let most = 0;
    await forEachConcurrently(numbers(20), 3, async () => {
      most = Math.max(most, ++running);
      await new Promise((resolve) => setTimeout(resolve, 1));
      running--;
    });
    expect(most).toBe(3);
    expect(running).toBe(0);
  });

  it('throws the first error after everything that ran has settled', async () => {
    let finished = 0;
    const all = forEachConcurrently(numbers(20), 4, async (i) => {
      await new Promise((resolve) => setTimeout(resolve, i === 2 ? 1 : 10));
      if (i === 2) throw new Error('two');
      finished++;
    });
    await expect(all).rejects.toThrow('two');
    expect(finished).toBe(3);
  });

  it('waits for what runs when the stream itself breaks', async () => {
    let finished = 0;
    async function* breaking() {
      yield 1;
      throw new Error('broken stream');
    }
    const all = forEachConcurrently(breaking(), 4, async () => {
      await new Promise((resolve) => setTimeout(resolve, 5));
      finished++;
    });
    await expect(all).rejects.toThrow('broken stream');
    expect(finished).toBe(1);
  });
});

describe('audible segments', () => {
  const grid = new SegmentGrid({ sampleRate: 100, segmentSamples: 20, hopSamples: 10 });
  const tone = (samples: number, amplitude: number) =>
    Float32Array.from({ length: samples }, (_, i) => amplitude * (i % 2 === 0 ? 1 : -1));

  it('are those whose RMS reaches the floor', () => {
    expect(audibleSegments(tone(40, 0.0011), grid, -60)).toEqual([0, 1, 2]);
    expect(audibleSegments(tone(40, 0.0009), grid, -60)).toEqual([]);
  });

  it('are found one by one', () => {
    const pcm = new Float32Array(60);
    pcm[45] = 1;
    expect(audibleSegments(pcm, grid, -60)).toEqual([3, 4]);
  });
});

describe('a stored window', () => {
  it('comes back as it was, but for the precision of its vectors', () => {
    const window = {
      segments: Uint32Array.of(120, 121, 125),
      vectors: Float32Array.of(1, 0, 0.5, -0.5, -1, 0.25),
      hits: [
        [
          { referenceId: 'ref "ü"', segment: 7, similarity: 0.5 },
          { referenceId: 'b', segment: 0, similarity: 0.25 },
        ],
        [],
        [{ referenceId: 'b', segment: 4_000_000_000, similarity: -1 }],
      ],
      undecodable: [{ startMs: 1, endMs: 2 }],
    };
    const restored = joinWindows([encodeWindow(window)]);
    expect(restored).toMatchObject({
      segments: window.segments,
      hits: hitColumns(window.hits),
      undecodable: window.undecodable,
    });
    expect([...restored.vectors]).toEqual([1, 0, 0.5, -0.5, -1, 0.25].map((x) => x * QUANTISED_ONE));
  });

  it('is joined to the others in order', () => {
    const window = (segment: number) =>
      encodeWindow({
        segments: Uint32Array.of(segment),
        vectors: Float32Array.of(segment, 0),
        hits: [
          [
            { referenceId: `only in ${segment}`, segment, similarity: 1 },
            { referenceId: 'a', segment, similarity: 0.5 },
          ],
        ],
        undecodable: [{ startMs: segment, endMs: segment + 1 }],
      });
    const silent = encodeWindow({
      segments: new Uint32Array(0),
      vectors: new Float32Array(0),
      hits: [],
      undecodable: [],
    });
    const joined = joinWindows([window(0), silent, window(1)]);
    expect(joined).toEqual({
      segments: Uint32Array.of(0, 1),
      vectors: Int8Array.of(0, 0, QUANTISED_ONE, 0),
      hits: hitColumns(
        [0, 1].map((segment) => [
          { referenceId: `only in ${segment}`, segment, similarity: 1 },
          { referenceId: 'a', segment, similarity: 0.5 },
        ]),
      ),
      undecodable: [
        { startMs: 0, endMs: 1 },
        { startMs: 1, endMs: 2 },
      ],
    });
  });
});
