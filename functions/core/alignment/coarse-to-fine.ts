import type { SegmentGrid } from '../segment-grid.ts';
import { type Hit, hitColumns } from '../segments.ts';
import { positionAt } from './line.ts';
import { type Proposal, proposeLines, SCALES } from './votes.ts';

// Neighbouring segments overlap by more than three quarters, so their hits say much the same; and a line that some of them
// propose is traced through the vectors of all of them. So the catalogue is asked for some first, and for those between
// where that leaves doubt.

/** Stretches up to this long are asked for at once: a short excerpt has no segment to spare, and costs little. */
const SHORT_MS = 10_000;
/**
 * Hits on a line that are together this far above the background, in cosines, may be more than chance: one block in twenty
 * of other music gets there, with one segment in five asked (`bench/calibrate/coarse.ts`)...
 */
const FAINT = 0.3;
/** ... and these are enough: the line will be found, and traced through what was not asked. */
const CLEAR = 0.8;
/** How far off a line its hits may lie, in segments: as far as they vote for it. */
const ON_THE_LINE = 1.6;

/** The hits of some rows of a window, in their order. */
export type Search = (rows: readonly number[]) => Promise<Hit[][]>;

/**
 * Asks the catalogue for a window of an upload: every `stride`-th segment first; then, if need be, those around hits that
 * could be the trace of a faint match.
 *
 * @param segments the audible segments of the window: global numbers, ascending
 * @param search called once or twice, or not at all for silence
 * @returns the hits row by row, best first; none for rows that were not asked
 */
export async function coarseToFine(
  segments: Uint32Array,
  grid: SegmentGrid,
  stride: number,
  search: Search,
): Promise<Hit[][]> {
  const hits: Hit[][] = Array.from(segments, () => []);
  for (const choose of [coarseRows, fineRows]) {
    const rows = choose(segments, grid, stride, hits);
    const found = rows.length > 0 ? await search(rows) : [];
    rows.forEach((row, i) => {
      hits[row] = found[i]!;
    });
  }
  return hits;
}

type Choose = (
  segments: Uint32Array,
  grid: SegmentGrid,
  stride: number,
  hits: readonly (readonly Hit[])[],
) => number[];

/** Every `stride`-th segment of the grid, whatever window it is in, and the first one after each silence. */
const coarseRows: Choose = (segments, grid, stride) => {
  const isShort = segments.length * grid.hopMs <= SHORT_MS;
  const rows = [...segments.keys()];
  return isShort
    ? rows
    : rows.filter((row) => segments[row]! % stride === 0 || segments[row - 1] !== segments[row]! - 1);
};

/** The rows around hits on the strongest line of a block, if that is faint, and its reference clear nowhere in the window. */
const fineRows: Choose = (segments, grid, stride, hits) => {
  if (hits.every((row) => row.length > 0)) return [];
  const lines = proposeLines({ segments, hits: hitColumns(hits) }, grid, SCALES.slice(0, 1));
  const clear = new Set(lines.filter(({ weight }) => weight >= CLEAR).map(({ referenceId }) => referenceId));
  const near = new Set<number>();
  for (const { referenceId, line, fromRow, toRow, weight } of strongestOfEachBlock(lines)) {
    if (weight < FAINT || clear.has(referenceId)) continue;
    for (let row = fromRow; row < toRow; row++) {
      const segment = segments[row]!;
      const position = positionAt(line, segment);
      const isOn = (hit: Hit) =>
        hit.referenceId === referenceId && Math.abs(hit.segment - position) <= ON_THE_LINE;
      if (!hits[row]!.some(isOn)) continue;
      for (let beside = segment - stride; beside <= segment + stride; beside++) near.add(beside);
    }
  }
  return [...segments.keys()].filter((row) => hits[row]!.length === 0 && near.has(segments[row]!));
};

function strongestOfEachBlock(lines: readonly Proposal[]): Iterable<Proposal> {
  const strongest = new Map<string, Proposal>();
  for (const line of lines) {
    const block = `${line.fromRow}-${line.toRow}`;
    if (line.weight > (strongest.get(block)?.weight ?? 0)) strongest.set(block, line);
  }
  return strongest.values();
}
