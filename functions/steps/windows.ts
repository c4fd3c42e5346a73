import type { SegmentGrid } from '../core/segment-grid.ts';
import { mergeSpans, type TimeSpan } from '../core/span.ts';
import type { PcmBlock } from '../ports/decoder.ts';

/** A stretch of whole segments, ready to embed. */
export interface PcmWindow {
  index: number;
  /** Global number of the first segment. */
  firstSegment: number;
  /** Exactly `grid.samplesFor(segments)` samples. */
  pcm: Float32Array;
  /** What the decoder could not read since the window before. */
  undecodable: TimeSpan[];
}

/**
 * Cuts decoded blocks into windows of `segmentsPerWindow` segments on the global grid; the last one may be shorter.
 * Neighbouring windows share the samples that their segments share, so windowing never changes a segment.
 *
 * @param startWindow the number of the first window; the blocks begin at its first sample
 */
export async function* windowsOf(
  blocks: AsyncIterable<PcmBlock>,
  grid: SegmentGrid,
  segmentsPerWindow: number,
  startWindow = 0,
): AsyncGenerator<PcmWindow> {
  const windowSamples = grid.samplesFor(segmentsPerWindow);
  const stepSamples = segmentsPerWindow * grid.hopSamples;
  let pcm = new Float32Array(windowSamples);
  let filled = 0;
  let undecodable: TimeSpan[] = [];
  let index = startWindow;

  for await (const block of blocks) {
    if (block.undecodable) undecodable = mergeSpans([...undecodable, ...block.undecodable]);
    let read = 0;
    while (read < block.pcm.length) {
      const take = Math.min(windowSamples - filled, block.pcm.length - read);
      pcm.set(block.pcm.subarray(read, read + take), filled);
      filled += take;
      read += take;
      if (filled === windowSamples) {
        yield { index, firstSegment: index * segmentsPerWindow, pcm, undecodable };
        // The window belongs to the caller now; what the next one shares with it moves into a new buffer.
        const next = new Float32Array(windowSamples);
        next.set(pcm.subarray(stepSamples));
        filled = windowSamples - stepSamples;
        pcm = next;
        undecodable = [];
        index++;
      }
    }
  }
  const rest = grid.segmentsIn(filled);
  if (rest > 0 || undecodable.length > 0) {
    const firstSegment = index * segmentsPerWindow;
    yield { index, firstSegment, pcm: pcm.subarray(0, grid.samplesFor(rest)), undecodable };
  }
}
