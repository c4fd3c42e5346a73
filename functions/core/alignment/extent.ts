import type { SegmentGrid } from '../segment-grid.ts';
import { fitLine, type Line, positionAt } from './line.ts';
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
 * A segment that lies half inside the matched audio is about half as similar as one that lies wholly inside: where
 * the similarity crosses the middle between chance and plateau, the boundary runs through the segment's centre. Where
 * upload or reference simply end, nothing crosses, and the last segment lies wholly inside.
 */
function edgeMs({ steps, from, to }: Trace, direction: 1 | -1, grid: SegmentGrid): number {
  const end = direction > 0 ? to : from;
  const inner = direction > 0 ? from : to;
  const wholeMs = (step: Step) => grid.startMs(step.upload) + (direction > 0 ? grid.segmentMs : 0);

  const inside: number[] = [];
  for (let i = end; inside.length < PLATEAU_STEPS; i -= direction) {
    inside.push(steps[i]!.deviations);
    if (i === inner) break;
  }
  const half = quantile(inside, 0.7) / 2;

  // The outermost crossing next to the end of the best-scoring stretch, looking inwards from a segment outside it.
  const outermost = Math.min(steps.length - 1, Math.max(0, end + direction * 3));
  for (let i = outermost; i !== inner; i -= direction) {
    const within = steps[i]!;
    if (within.deviations < half) continue;
    const without = steps[i + direction];
    if (!without || Math.abs(without.upload - within.upload) > 2) return wholeMs(within);
    const share = (within.deviations - half) / Math.max(1e-6, within.deviations - without.deviations);
    const edge = grid.centreMs(within.upload + Math.min(1, share) * (without.upload - within.upload));
    return edge;
  }
  return wholeMs(steps[end]!);
}

function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.round(share * (sorted.length - 1))]!;
}
