import type { SegmentGrid } from '../segment-grid.ts';
import { fitLine, type Line, positionAt } from './line.ts';
import { quantile } from './quantile.ts';
import { pointsOf, type Step, type Trace } from './trace.ts';

/** A stretch of the upload and of the reference, in milliseconds. */
export interface Extent {
  uploadStartMs: number;
  uploadEndMs: number;
  referenceStartMs: number;
  referenceEndMs: number;
  speed: number;
}

/** An end is placed by its own surroundings, so that a drift elsewhere does not move it. */
const LOCAL_POINTS = 60;
/** Steps that say how similar the stretch is when an upload segment lies wholly inside it. */
const PLATEAU_STEPS = 8;

/** Where the matched audio begins and ends on both sides. */
export function extentOf(trace: Trace, grid: SegmentGrid): Extent {
  const points = pointsOf(trace);
  const first = fitLine(points.slice(0, LOCAL_POINTS), trace.line);
  const last = points.length > LOCAL_POINTS ? fitLine(points.slice(-LOCAL_POINTS), trace.line) : first;
  const uploadEndMs = edgeMs(trace, 1, grid);
  let uploadStartMs = Math.min(uploadEndMs, edgeMs(trace, -1, grid));
  let referenceStartMs = referenceMs(first, uploadStartMs, grid);
  if (referenceStartMs < 0) {
    // The upload begins before the reference does.
    uploadStartMs -= referenceStartMs / first.slope;
    referenceStartMs = 0;
  }
  const referenceEndMs = Math.max(referenceStartMs, referenceMs(last, uploadEndMs, grid));
  const passed = (referenceEndMs - referenceStartMs) / Math.max(1, uploadEndMs - uploadStartMs);
  return {
    uploadStartMs,
    uploadEndMs,
    referenceStartMs,
    referenceEndMs,
    speed: first === last ? first.slope : passed,
  };
}

/** A line maps centres of segments onto centres of segments. */
function referenceMs(line: Line, uploadMs: number, grid: SegmentGrid): number {
  const half = grid.segmentMs / 2;
  return positionAt(line, (uploadMs - half) / grid.hopMs) * grid.hopMs + half;
}

/**
 * The time at which the match begins (`direction` -1) or ends (+1).
 *
 * A segment is about as similar as the share of it that lies inside the matched audio. Where the similarity crosses the
 * middle between chance and plateau, the boundary runs through the segment's centre; where upload or reference fall
 * silent or end, nothing crosses, and the last segment's own similarity tells how far it reaches.
 */
function edgeMs({ steps, from, to }: Trace, direction: 1 | -1, grid: SegmentGrid): number {
  const end = direction > 0 ? to : from;
  const inner = direction > 0 ? from : to;
  const inside: number[] = [];
  for (let i = end; inside.length < PLATEAU_STEPS; i -= direction) {
    inside.push(steps[i]!.deviations);
    if (i === inner) break;
  }
  const plateau = quantile(inside, 0.7);

  // Looking inwards from a segment outside it.
  const outermost = Math.min(steps.length - 1, Math.max(0, end + direction));
  for (let i = outermost; i !== inner; i -= direction) {
    const within = steps[i]!;
    if (within.deviations < plateau / 2) continue;
    const without = steps[i + direction];
    if (!without || Math.abs(without.upload - within.upload) > 2) return lastMs(within);
    const share = (within.deviations - plateau / 2) / Math.max(1e-6, within.deviations - without.deviations);
    return grid.centreMs(within.upload + Math.min(1, share) * (without.upload - within.upload));
  }
  return lastMs(steps[end]!);

  function lastMs({ upload, deviations }: Step): number {
    const share = Math.min(1, Math.max(0, deviations / plateau));
    return grid.centreMs(upload) + direction * (share - 0.5) * grid.segmentMs;
  }
}
