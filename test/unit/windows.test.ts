import { describe, expect, it } from 'vitest';
import { SegmentGrid } from '../../functions/core/segment-grid.ts';
import type { PcmBlock } from '../../functions/ports/decoder.ts';
import { type PcmWindow, windowsOf } from '../../functions/steps/windows.ts';

const grid = new SegmentGrid({ sampleRate: 100, segmentSamples: 25, hopSamples: 10 });

/** A file whose samples are their own numbers, in blocks of uneven size. */
async function* blocks(samples: number, startSample = 0, size = 7): AsyncGenerator<PcmBlock> {
  for (let at = startSample; at < samples; at += size) {
    const count = Math.min(size, samples - at);
    yield { startSample: at, pcm: Float32Array.from({ length: count }, (_, i) => at + i) };
  }
}

async function collect(windows: AsyncIterable<PcmWindow>): Promise<PcmWindow[]> {
  const all: PcmWindow[] = [];
  for await (const window of windows) all.push(window);
  return all;
}

describe('windows', () => {
  it.each([25, 26, 34, 35, 100, 101, 115, 999, 1000])(
    'hold every segment of %d samples once',
    async (samples) => {
      const windows = await collect(windowsOf(blocks(samples), grid, 4));

      const segments = windows.flatMap(({ firstSegment, pcm }) =>
        Array.from({ length: grid.segmentsIn(pcm.length) }, (_, i) => ({
          number: firstSegment + i,
          firstSample: pcm[grid.startSample(i)],
        })),
      );
      expect(segments).toEqual(
        Array.from({ length: grid.segmentsIn(samples) }, (_, number) => ({
          number,
          firstSample: grid.startSample(number),
        })),
      );
      for (const { pcm } of windows) expect(pcm.length).toBe(grid.samplesFor(grid.segmentsIn(pcm.length)));
    },
  );

  it('of a resumed file are the windows of the whole file', async () => {
    const whole = await collect(windowsOf(blocks(1000), grid, 4));
    const resumed = await collect(windowsOf(blocks(1000, 3 * 4 * grid.hopSamples), grid, 4, 3));
    expect(resumed).toEqual(whole.slice(3));
  });

  it('do not exist for less than a segment', async () => {
    expect(await collect(windowsOf(blocks(24), grid, 4))).toEqual([]);
  });

  it('hand on what could not be decoded, each stretch once', async () => {
    async function* damaged(): AsyncGenerator<PcmBlock> {
      yield { startSample: 0, pcm: new Float32Array(100), undecodable: [{ startMs: 10, endMs: 20 }] };
      yield { startSample: 100, pcm: new Float32Array(5), undecodable: [{ startMs: 1000, endMs: 1010 }] };
    }
    const windows = await collect(windowsOf(damaged(), grid, 4));
    expect(windows.flatMap(({ undecodable }) => undecodable)).toEqual([
      { startMs: 10, endMs: 20 },
      { startMs: 1000, endMs: 1010 },
    ]);
  });
});
