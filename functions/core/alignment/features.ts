import type { Features } from '../confidence.ts';
import type { SegmentGrid } from '../segment-grid.ts';
import type { Places } from './places.ts';
import type { Similarity } from './similarity.ts';
import type { Trace } from './trace.ts';

/** Which of the other references stands for chance: the best few may be other copies of the same music. */
const RIVAL = 3;
/** Parallel lines to compare with, in segments off the line: near enough for the same passage. */
const OFF_THE_LINE = [-24, -17, -11, -7, 7, 11, 17, 24];
const SAMPLED_STEPS = 40;
const TEN_SECONDS_MS = 10_000;

export function featuresOf(
  traces: readonly Trace[],
  score: number,
  heardSegments: number,
  all: Places,
  similarity: Similarity,
  background: Float32Array,
  grid: SegmentGrid,
): Features {
  const steps = traces.flatMap((trace) => trace.steps.slice(trace.from, trace.to + 1));
  const leads = steps.map(({ cosine, row }) => cosine - similarity.strangers(background[row]!));
  const best = traces.reduce((a, b) => (b.score > a.score ? b : a));
  return {
    score,
    field: fieldAround(best, all),
    contrast: meanContrast(traces, similarity),
    cosine: steps.reduce((sum, { cosine }) => sum + cosine, 0) / steps.length,
    lead: leads.reduce((sum, lead) => sum + lead, 0) / steps.length,
    ahead: leads.reduce((sum, lead) => sum + Math.max(0, lead), 0),
    seconds: (steps.length * grid.hopMs) / 1000,
    explained: Math.min(1, steps.length / Math.min(heardSegments, TEN_SECONDS_MS / grid.hopMs)),
    speed: best.line.slope,
    links: traces.length - 1,
  };
}

/** What the `RIVAL`th best other reference reaches in the middle of a trace. */
function fieldAround({ reference, steps, from, to }: Trace, all: Places): number {
  const scores = new Map<string, number>();
  for (const other of all.at((steps[from]!.upload + steps[to]!.upload) / 2)) {
    if (other.reference === reference) continue;
    scores.set(other.reference.id, Math.max(other.score, scores.get(other.reference.id) ?? 0));
  }
  return [...scores.values()].sort((a, b) => b - a)[RIVAL - 1] ?? 0;
}

/** Of all pieces: each of them is the best of many places, so the best of them says little about the others. */
function meanContrast(traces: readonly Trace[], similarity: Similarity): number {
  let [sum, steps] = [0, 0];
  for (const trace of traces) {
    const length = trace.to - trace.from + 1;
    sum += length * contrastOf(trace, similarity);
    steps += length;
  }
  return sum / steps;
}

/** Held notes and drum loops are as similar a few seconds off the line as on it; a true match is not. */
function contrastOf({ reference, steps, from, to }: Trace, similarity: Similarity): number {
  const stride = Math.max(1, Math.floor((to - from + 1) / SAMPLED_STEPS));
  let sum = 0;
  let count = 0;
  for (let i = from; i <= to; i += stride) {
    const { row, position, deviations } = steps[i]!;
    for (const off of OFF_THE_LINE) {
      const elsewhere = similarity.cosine(row, reference, Math.round(position) + off);
      if (Number.isNaN(elsewhere)) continue;
      sum += deviations - similarity.deviations(row, elsewhere);
      count++;
    }
  }
  return count === 0 ? 0 : sum / count;
}
