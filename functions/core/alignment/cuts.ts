import type { Similarity, StoredReference } from './similarity.ts';
import { look, pointsOf, type Step, type Trace, traceLine } from './trace.ts';

/** What a cut costs, nats: more than a drift of the speed can gain by being taken for one. */
const CUT_COST = 3;
/** Cuts looked for beyond both ends of the offsets that the line spans, in segments. */
const MARGIN = 2;
/** Lines that part further from the original speed are left as they are: what was cut out is found by voting. */
const MOST_OFFSETS = 400;

/**
 * Someone who cuts a second out of every three leaves a trace that looks as if it were sped up. So a line that is steeper
 * than the original speed is set against the best path of pieces at that speed, each further on in the reference than
 * the one before (Viterbi, one state per offset), and gives way where the pieces explain more.
 */
export function inPieces(trace: Trace, segments: Uint32Array, similarity: Similarity): Trace[] {
  const { reference, line, steps, from, to } = trace;
  if (line.slope <= 1) return [trace];
  const rows = steps.slice(from, to + 1);
  const offsetOf = ({ position, upload }: { position: number; upload: number }) =>
    Math.round(position - upload);
  const first = offsetOf(rows[0]!) - MARGIN;
  const offsets = offsetOf(rows.at(-1)!) + MARGIN - first + 1;
  if (offsets > MOST_OFFSETS) return [trace];

  // cameFrom[row][offset]: the offset of the row before, on the best path that ends there.
  const cameFrom: Int32Array[] = [];
  let score = new Float64Array(offsets);
  for (const row of rows) {
    const next = new Float64Array(offsets);
    const origin = new Int32Array(offsets);
    let furthest = 0;
    for (let i = 0; i < offsets; i++) {
      if (score[i]! > score[furthest]!) furthest = i;
      const cut = furthest < i && score[furthest]! - CUT_COST > score[i]!;
      origin[i] = cut ? furthest : i;
      next[i] =
        (cut ? score[furthest]! - CUT_COST : score[i]!) + evidenceAt(row, first + i, reference, similarity);
    }
    cameFrom.push(origin);
    score = next;
  }
  let offset = score.indexOf(Math.max(...score));
  if (score[offset]! <= trace.score) return [trace];

  const pieces: Trace[] = [];
  for (let i = rows.length - 1, last = i; i >= 0; i--) {
    const before = cameFrom[i]![offset]!;
    if (before === offset && i > 0) continue;
    pieces.unshift(...pieceAt(rows.slice(i, last + 1), first + offset, segments, reference, similarity));
    offset = before;
    last = i - 1;
  }
  return pieces;
}

/** The trace of one piece; none where nothing is heard of it. */
function pieceAt(
  rows: readonly Step[],
  offset: number,
  segments: Uint32Array,
  reference: StoredReference,
  similarity: Similarity,
): Trace[] {
  const evidence = rows.map((row) => evidenceAt(row, offset, reference, similarity));
  const seed = evidence.indexOf(Math.max(...evidence));
  if (evidence[seed]! <= 0) return [];
  const { row, upload } = rows[seed]!;
  const line = { upload, position: upload + offset, slope: 1 };
  const range = { fromRow: rows[0]!.row, toRow: rows.at(-1)!.row + 1 };
  const trace = traceLine(line, row, segments, reference, similarity, range);
  return trace && pointsOf(trace).length > 0 ? [trace] : [];
}

/** What an upload row says for lying `offset` segments further on in the reference, nats. */
const evidenceAt = (
  { row, upload }: Step,
  offset: number,
  reference: StoredReference,
  similarity: Similarity,
): number => look(row, upload, upload + offset, reference, similarity)?.evidence ?? 0;
