import type { SegmentGrid } from './segment-grid.ts';

/**
 * Which segments of a window are loud enough to speak of: their RMS reaches `floorDbfs`.
 * Silence matches every silence, so such segments are neither indexed nor searched.
 *
 * @param pcm exactly `grid.samplesFor(n)` samples
 * @returns the audible segments, numbered from the start of the window
 */
export function audibleSegments(pcm: Float32Array, grid: SegmentGrid, floorDbfs: number): number[] {
  const floor = 10 ** (floorDbfs / 10) * grid.segmentSamples;
  const audible: number[] = [];
  for (let segment = 0; segment < grid.segmentsIn(pcm.length); segment++) {
    const start = grid.startSample(segment);
    let energy = 0;
    // Stops as soon as the floor is reached: for music that is after a few samples.
    for (let i = start; i < start + grid.segmentSamples && energy < floor; i++) energy += pcm[i]! * pcm[i]!;
    if (energy >= floor) audible.push(segment);
  }
  return audible;
}
