import type { Finding, FoundSpan } from './engine.ts';
import type { Piece, Query } from './render.ts';
import { likeness, SAME, type View } from './same-audio.ts';

// Right or wrong. The same audio may stand at several places: a loop, a refrain, the same track in two packages.
// Whoever finds any of them is right, so a finding that disagrees with the recipe is checked against the audio.

/** An offset is right when it is this near, in seconds. */
export const OFFSET_TOLERANCE = 0.5;

export interface Judged {
  finding: Finding;
  /** The reference holds what the query holds. */
  track: boolean;
  /** ... and at least one span says where, within the tolerance. */
  offset: boolean;
  /** Right only because the same audio stands at several places. */
  elsewhere: boolean;
  /** Median error of the best span, seconds; absent when the track is wrong. */
  error?: number;
}

/** How a query's catalogue tracks look; `undefined` for ids that are no tracks of ours. */
export type ViewOf = (trackId: string) => Promise<View | undefined>;

/** Judges every finding of one query. `trackId` is what the query was cut from; none for speech and noise. */
export async function judge(query: Query, findings: readonly Finding[], viewOf: ViewOf): Promise<Judged[]> {
  return Promise.all(findings.map((finding) => judgeOne(query, finding, viewOf)));
}

async function judgeOne(query: Query, finding: Finding, viewOf: ViewOf): Promise<Judged> {
  const wrong: Judged = { finding, track: false, offset: false, elsewhere: false };
  if (!query.track) return wrong;
  const right = finding.referenceId === query.track.id;
  if (right) {
    const error = Math.min(...finding.spans.map((span) => offsetError(span, query.pieces)));
    if (error <= OFFSET_TOLERANCE) return { finding, track: true, offset: true, elsewhere: false, error };
  }
  const elsewhere = await standsElsewhere(query, finding, viewOf);
  return { finding, track: right || elsewhere, offset: elsewhere, elsewhere };
}

/** Median distance between where a span says the reference is and where it truly is, seconds. */
export function offsetError(span: FoundSpan, pieces: readonly Piece[]): number {
  const errors: number[] = [];
  for (const piece of pieces) {
    const from = Math.max(piece.start, span.uploadStartMs / 1000);
    const to = Math.min(piece.end, span.uploadEndMs / 1000);
    for (let t = from + 0.05; t < to; t += 0.1) {
      errors.push(Math.abs(referenceAt(span, t) - (piece.reference + piece.speed * (t - piece.start))));
    }
  }
  errors.sort((a, b) => a - b);
  return errors.length === 0 ? Number.POSITIVE_INFINITY : errors[Math.floor(errors.length / 2)]!;
}

/** Reference seconds that a span gives for upload seconds `t`. */
function referenceAt(span: FoundSpan, t: number): number {
  const speed =
    (span.referenceEndMs - span.referenceStartMs) / Math.max(1, span.uploadEndMs - span.uploadStartMs);
  return (span.referenceStartMs + (t * 1000 - span.uploadStartMs) * speed) / 1000;
}

/** Whether the audio that was hidden also stands where the finding says (clean track against clean track). */
async function standsElsewhere(query: Query, finding: Finding, viewOf: ViewOf): Promise<boolean> {
  const [truth, claimed] = await Promise.all([viewOf(query.track!.id), viewOf(finding.referenceId)]);
  if (!truth || !claimed) return false;
  return finding.spans.some((span) =>
    query.pieces.some((piece) => {
      const from = Math.max(piece.start, span.uploadStartMs / 1000);
      const to = Math.min(piece.end, span.uploadEndMs / 1000);
      if (to - from < 1) return false;
      const hidden = piece.reference + piece.speed * (from - piece.start);
      // Short stretches are compared over 5 s around them: less does not tell a loop from a likeness.
      const seconds = Math.max(5, (to - from) * piece.speed);
      return likeness(truth, hidden, claimed, referenceAt(span, from), seconds) >= SAME;
    }),
  );
}

/** A cell of the table, or any other heap of positives: shares of its queries, 0..1. */
export interface Cell {
  queries: number;
  track: number;
  offset: number;
  wrong: number;
  elsewhere: number;
  /** Median offset error of what was found, seconds. */
  error: number;
}

export function cellOf(answers: readonly (readonly Judged[])[]): Cell {
  const share = (holds: (judged: readonly Judged[]) => boolean) =>
    answers.filter(holds).length / answers.length;
  const errors = answers
    .flatMap((judged) => judged.flatMap(({ error }) => error ?? []))
    .sort((a, b) => a - b);
  return {
    queries: answers.length,
    track: share((judged) => judged.some(({ track }) => track)),
    offset: share((judged) => judged.some(({ offset }) => offset)),
    wrong: share((judged) => judged.some(({ track }) => !track)),
    elsewhere: share((judged) => judged.some(({ elsewhere }) => elsewhere)),
    error: errors[Math.floor(errors.length / 2)] ?? Number.NaN,
  };
}

export interface ReliabilityBin {
  from: number;
  to: number;
  findings: number;
  /** Mean confidence that was claimed, and the share that was right. */
  claimed: number;
  right: number;
}

/** Claimed confidence against the share that is right, over all findings of positives and negatives. */
export function reliabilityOf(judged: readonly Judged[]): ReliabilityBin[] {
  const edges = [0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999, 1.0000001];
  return edges.slice(1).flatMap((to, i) => {
    const from = edges[i]!;
    const inside = judged.filter(({ finding }) => finding.confidence >= from && finding.confidence < to);
    if (inside.length === 0) return [];
    const claimed = inside.reduce((sum, { finding }) => sum + finding.confidence, 0) / inside.length;
    const right = inside.filter(({ track }) => track).length / inside.length;
    return [{ from, to: Math.min(1, to), findings: inside.length, claimed, right }];
  });
}
