import { fitLine, type Line, type Point, positionAt } from './line.ts';
import { median } from './quantile.ts';
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
/** Which share of a match's segments may be heard; of no match every one is heard for certain. */
const SHARES_HEARD = [0.97, 0.85, 0.7, 0.5];
/** Steps beyond either end that are kept. */
const SURROUNDINGS = 2;
/** No single segment decides, nats. */
const MOST_GAIN = 3;

/**
 * Follows a line from `seedRow` to both ends as long as the evidence holds, fits the line to what was found, and
 * goes again until nothing changes. Nothing comes of it where the reference is silent.
 */
export function traceLine(
  guess: Line,
  seedRow: number,
  segments: Uint32Array,
  reference: StoredReference,
  similarity: Similarity,
  range: RowRange = { fromRow: 0, toRow: segments.length },
): Trace | undefined {
  let line = guess;
  let trace = follow(line, seedRow, segments, reference, similarity, range);
  if (trace.steps.length === 0) return undefined;
  for (let round = 1; round < ROUNDS; round++) {
    const refined = fitLine(pointsOf(trace), line);
    if (isSame(refined, line, trace)) break;
    line = refined;
    const again = follow(line, seedRow, segments, reference, similarity, range);
    if (again.steps.length === 0 || again.score < trace.score) break;
    trace = again;
  }
  return withoutSurroundings(trace);
}

/** Keeps of the surroundings what tells where the ends are: a long upload has tens of thousands of traces. */
function withoutSurroundings({ steps, from, to, ...trace }: Trace): Trace {
  const first = Math.max(0, from - SURROUNDINGS);
  return { ...trace, steps: steps.slice(first, to + SURROUNDINGS + 1), from: from - first, to: to - first };
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
  const steps = [...backward.steps.reverse(), ...forward.steps];
  const from = backward.steps.length - backward.bestLength;
  const to = Math.max(from, backward.steps.length + forward.bestLength - 1);
  return { reference, line, steps, ...trimmed(steps, from, to) };
}

/**
 * The stretch of the steps that is most probably the match, given how the match sounds. Evidence alone would let a few
 * segments of chance lengthen it: seconds away from where a loud and clear match ends, something half as similar is no
 * part of it, though it may well be part of a faint one. So what the steps within `[from, to]` are like weighs every
 * step against chance, and the stretch with the greatest sum is taken. How much of it is heard at all (music under
 * speech comes and goes) is found by trying.
 */
function trimmed(steps: readonly Step[], from: number, to: number): Pick<Trace, 'from' | 'to' | 'score'> {
  const heard = steps.slice(from, to + 1).filter(({ evidence }) => evidence > 0);
  const typical = median(heard.map(({ deviations }) => deviations));
  const spread = Math.max(1, 1.5 * median(heard.map(({ deviations }) => Math.abs(deviations - typical))));
  // Likelihood ratios. Chance falls off exponentially, not normally: music of one style is a few deviations away
  // from itself everywhere. Clearer than usual speaks for the match as well.
  const ratios = steps.map(({ deviations }) => {
    const short = Math.max(0, typical - deviations) / spread;
    return Math.exp(Math.min(MOST_GAIN, Math.max(0, deviations) - 0.5 * short ** 2 - Math.log(spread)));
  });
  let best = { sum: Number.NEGATIVE_INFINITY, from, to };
  for (const share of SHARES_HEARD) {
    let run = { sum: 0, from: 0 };
    for (const [i, ratio] of ratios.entries()) {
      if (run.sum <= 0) run = { sum: 0, from: i };
      run.sum += Math.log(share * ratio + 1 - share);
      if (run.sum > best.sum) best = { sum: run.sum, from: run.from, to: i };
    }
  }
  const score = steps.slice(best.from, best.to + 1).reduce((sum, { evidence }) => sum + evidence, 0);
  return { from: best.from, to: best.to, score };
}

function walk(
  line: Line,
  startRow: number,
  direction: 1 | -1,
  segments: Uint32Array,
  reference: StoredReference,
  similarity: Similarity,
  { fromRow, toRow }: RowRange,
): { steps: Step[]; bestLength: number } {
  const steps: Step[] = [];
  let correction = 0;
  let score = 0;
  let best = 0;
  let bestLength = 0;
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
    if (score > best) {
      best = score;
      bestLength = steps.length;
    }
    if (score < best - X_DROP) break;
    if (step.evidence > 0 && !Number.isNaN(step.peak)) correction += CORRECTION * (step.peak - position);
  }
  return { steps, bestLength };
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
