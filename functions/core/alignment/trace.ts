import { fitLine, type Line, type Point, positionAt } from './line.ts';
import type { Similarity, StoredReference } from './similarity.ts';

/** What was found for one upload row along a line. */
export interface Step {
  row: number;
  upload: number;
  /** Where the line, as followed, lies in the reference. */
  position: number;
  /** Where the similarity peaks next to the line, if it does. */
  peak: number;
  cosine: number;
  /** The cosine in deviations above chance, and what that is worth in nats. */
  deviations: number;
  evidence: number;
}

/** A line followed through the upload: the best-scoring stretch, and what lies just outside it. */
export interface Trace {
  reference: StoredReference;
  line: Line;
  /** Row by row, ascending; `steps[from..to]`, both inclusive, is the stretch that matches. */
  steps: Step[];
  from: number;
  to: number;
  /** Evidence summed over the stretch, nats. */
  score: number;
}

/** Upload rows `[fromRow, toRow)`. */
export interface RowRange {
  fromRow: number;
  toRow: number;
}

/** The walk gives up when the score has fallen this many nats below its best (X-drop, as in BLAST). */
const X_DROP = 9;
/** ... or after so much silence, in segments. */
const LONGEST_SILENCE = 20;
/** Share of each deviation by which the walk corrects its course: follows drifts, ignores scatter. */
const CORRECTION = 0.08;
const ROUNDS = 3;
/** So many segments in a row without evidence are a gap. */
const SHORTEST_GAP = 4;

/**
 * Follows a line from `seedRow` to both ends as long as the evidence holds, fits the line to what was found, and
 * goes again until nothing changes.
 */
export function traceLine(
  guess: Line,
  seedRow: number,
  segments: Uint32Array,
  reference: StoredReference,
  similarity: Similarity,
  range: RowRange = { fromRow: 0, toRow: segments.length },
): Trace {
  let line = guess;
  let trace = follow(line, seedRow, segments, reference, similarity, range);
  for (let round = 1; round < ROUNDS; round++) {
    const refined = fitLine(pointsOf(trace), line);
    if (isSame(refined, line, trace)) break;
    line = refined;
    const again = follow(line, seedRow, segments, reference, similarity, range);
    if (again.score < trace.score) break;
    trace = again;
  }
  return trace;
}

/** The measured points of the matching stretch. */
export function pointsOf({ steps, from, to }: Trace): Point[] {
  const points: Point[] = [];
  for (let i = from; i <= to; i++) {
    const { upload, peak, evidence } = steps[i]!;
    if (evidence > 0 && !Number.isNaN(peak)) points.push({ upload, position: peak, weight: evidence });
  }
  return points;
}

function isSame(a: Line, b: Line, { steps, from, to }: Trace): boolean {
  return [steps[from]!, steps[to]!].every(
    ({ upload }) => Math.abs(positionAt(a, upload) - positionAt(b, upload)) < 0.1,
  );
}

function follow(
  line: Line,
  seedRow: number,
  segments: Uint32Array,
  reference: StoredReference,
  similarity: Similarity,
  range: RowRange,
): Trace {
  const backward = walk(line, seedRow - 1, -1, segments, reference, similarity, range);
  const forward = walk(line, seedRow, 1, segments, reference, similarity, range);
  const before = withoutIslands(backward.steps.slice(0, backward.bestLength));
  const after = withoutIslands(forward.steps.slice(0, forward.bestLength));
  const steps = [...backward.steps.reverse(), ...forward.steps];
  const from = backward.steps.length - before;
  const to = backward.steps.length + after - 1;
  return { reference, line, steps, from, to: Math.max(from, to), score: backward.best + forward.best };
}

/**
 * How many of the steps, which lead outwards, belong to the match for certain. A few segments that lie beyond a gap
 * longer than themselves may be chance: they may count as evidence, but not as its end.
 */
function withoutIslands(steps: readonly Step[]): number {
  let inside = 0;
  for (const [i, { evidence }] of steps.entries()) {
    if (evidence <= 0) continue;
    const gap = i - inside;
    if (gap >= SHORTEST_GAP && steps.length - i <= gap) return inside;
    inside = i + 1;
  }
  return inside;
}

function walk(
  line: Line,
  startRow: number,
  direction: 1 | -1,
  segments: Uint32Array,
  reference: StoredReference,
  similarity: Similarity,
  { fromRow, toRow }: RowRange,
): { steps: Step[]; best: number; bestLength: number } {
  const steps: Step[] = [];
  let correction = 0;
  let score = 0;
  let best = 0;
  let bestLength = 0;
  let lowest = 0;
  let lastHeard = segments[startRow] ?? 0;
  for (let row = startRow; row >= fromRow && row < toRow; row += direction) {
    const upload = segments[row]!;
    const position = positionAt(line, upload) + correction;
    const beyond = direction > 0 ? position > reference.length - 0.5 : position < -0.5;
    if (beyond || Math.abs(upload - lastHeard) > LONGEST_SILENCE) break;
    const step = look(row, upload, position, reference, similarity);
    if (!step) continue;
    lastHeard = upload;
    steps.push(step);
    score += step.evidence;
    lowest = Math.min(lowest, score);
    // What lies behind a dip must outweigh it once more: chance lends a little evidence to any line.
    if (score > best && score - best >= best - lowest) {
      best = score;
      lowest = score;
      bestLength = steps.length;
    }
    if (score < best - X_DROP) break;
    if (step.evidence > 0 && !Number.isNaN(step.peak)) correction += CORRECTION * (step.peak - position);
  }
  return { steps, best, bestLength };
}

/** Compares an upload row with the reference around `position`; undefined where the reference is silent. */
export function look(
  row: number,
  upload: number,
  position: number,
  reference: StoredReference,
  similarity: Similarity,
): Step | undefined {
  const nearest = Math.round(position);
  const middle = similarity.cosine(row, reference, nearest);
  if (Number.isNaN(middle)) return undefined;
  const left = similarity.cosine(row, reference, nearest - 1);
  const right = similarity.cosine(row, reference, nearest + 1);
  let cosine = middle;
  let peak = Number.NaN;
  if (!Number.isNaN(left) && !Number.isNaN(right)) {
    // Cosines with neighbouring segments lie on a parabola: similarity falls off smoothly over a segment's length.
    const slope = (right - left) / 2;
    const curve = (right + left) / 2 - middle;
    const off = position - nearest;
    cosine += slope * off + curve * off * off;
    const peakOff = curve < 0 ? -slope / (2 * curve) : Number.NaN;
    if (Math.abs(peakOff) <= 1) peak = nearest + peakOff;
  }
  const deviations = similarity.deviations(row, cosine);
  return { row, upload, position, peak, cosine, deviations, evidence: similarity.evidence(deviations) };
}
