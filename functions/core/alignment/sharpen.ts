import { type Line, positionAt } from './line.ts';
import type { Similarity, StoredReference } from './similarity.ts';

/** How far around the voted line to look, in segments. */
const REACH = 4;
const SHIFTS = [0, -0.5, 0.5, -1, 1, -1.5, 1.5];
const SLOPE_CHANGES = [0, -0.01, 0.01, -0.02, 0.02, -0.03, 0.03];
/** Near 1 in slope, 1 itself is tried first. */
const NEARLY_ONE = 0.06;

/**
 * Moves a voted line to where the stored vectors agree with it most: the evidence of all segments of the block is
 * stacked along each neighbouring line, so that even a line whose single segments are lost in noise comes out.
 *
 * @param still leaves the line where it was voted
 * @returns the line, and the row that says most for it; -1 where none says anything
 */
export function sharpen(
  line: Line,
  fromRow: number,
  toRow: number,
  segments: Uint32Array,
  reference: StoredReference,
  similarity: Similarity,
  still = false,
): { line: Line; seed: number } {
  const width = 2 * REACH + 1;
  const evidence = new Float32Array((toRow - fromRow) * width);
  const middles = new Int32Array(toRow - fromRow);
  for (let row = fromRow; row < toRow; row++) {
    const middle = Math.round(positionAt(line, segments[row]!));
    middles[row - fromRow] = middle;
    for (let d = 0; d < width; d++) {
      const cosine = similarity.cosine(row, reference, middle + d - REACH);
      evidence[(row - fromRow) * width + d] = Number.isNaN(cosine)
        ? 0
        : similarity.evidence(similarity.deviations(row, cosine));
    }
  }

  let best = { line, sum: Number.NEGATIVE_INFINITY, seed: -1 };
  const slopes = still ? [line.slope] : SLOPE_CHANGES.map((change) => line.slope + change);
  if (!still && Math.abs(line.slope - 1) <= NEARLY_ONE) slopes.unshift(1);
  for (const slope of slopes) {
    for (const shift of still ? [0] : SHIFTS) {
      const candidate = { ...line, position: line.position + shift, slope };
      let sum = 0;
      let seed = -1;
      let most = 0;
      for (let row = fromRow; row < toRow; row++) {
        const x = positionAt(candidate, segments[row]!) - middles[row - fromRow]! + REACH;
        const left = Math.floor(x);
        if (left < 0 || left + 1 >= width) continue;
        const at = (row - fromRow) * width + left;
        const says = evidence[at]! + (x - left) * (evidence[at + 1]! - evidence[at]!);
        sum += says;
        if (says > most) {
          most = says;
          seed = row;
        }
      }
      if (sum > best.sum + 1e-6) best = { line: candidate, sum, seed };
    }
  }
  return best;
}
