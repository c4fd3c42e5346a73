/**
 * A straight line through the (upload, reference) plane. Both axes count segments, fractions allowed:
 * `position + slope * (u - upload)` is where in the reference upload segment `u` lies.
 */
export interface Line {
  upload: number;
  position: number;
  /** Segments of the reference that pass in one segment of the upload: the speed. */
  slope: number;
}

export const positionAt = (line: Line, upload: number): number =>
  line.position + line.slope * (upload - line.upload);

/** Where an upload segment was found in the reference, and how much that says. */
export interface Point {
  upload: number;
  position: number;
  weight: number;
}

/** Fewer points than this cannot tell a slope from scatter. */
const POINTS_FOR_SLOPE = 6;
/** Residuals beyond this many segments count less and less (Huber). */
const HUBER = 0.35;
const ROUNDS = 6;
/** Speeds outside are scatter, or another recording. */
const LEAST_SLOPE = 0.76;
const MOST_SLOPE = 1.32;

/**
 * The robust line through points near a first guess: least squares, reweighted by Huber's rule.
 *
 * The slope stays the guess's with few points, and snaps to 1 (an upload at the original speed, by far the most
 * common) whenever the points cannot tell the difference.
 */
export function fitLine(points: readonly Point[], guess: Line): Line {
  const free = points.length >= POINTS_FOR_SLOPE ? reweighted(points, guess) : undefined;
  const sane = free && free.slope >= LEAST_SLOPE && free.slope <= MOST_SLOPE;
  const line = sane ? free : reweighted(points, guess, guess.slope);
  const couldBeOne = line.slope !== 1 && Math.abs(line.slope - 1) <= 2 * slopeError(points, line);
  return couldBeOne ? reweighted(points, { ...line, slope: 1 }, 1) : line;
}

function reweighted(points: readonly Point[], guess: Line, fixedSlope?: number): Line {
  let line = guess;
  for (let round = 0; round < ROUNDS; round++) line = leastSquares(points, line, fixedSlope);
  return line;
}

/** One round: points weigh by their own weight times Huber's, measured from the line of the round before. */
function leastSquares(points: readonly Point[], line: Line, fixedSlope: number | undefined): Line {
  let w = 0;
  let wu = 0;
  let wp = 0;
  let wuu = 0;
  let wup = 0;
  for (const { upload, position, weight } of points) {
    const residual = Math.abs(position - positionAt(line, upload));
    const huber = residual <= HUBER ? weight : (weight * HUBER) / residual;
    const u = upload - line.upload;
    w += huber;
    wu += huber * u;
    wp += huber * position;
    wuu += huber * u * u;
    wup += huber * u * position;
  }
  if (w === 0) return line;
  const meanU = wu / w;
  const meanP = wp / w;
  const varianceU = wuu / w - meanU * meanU;
  const slope = fixedSlope ?? (varianceU > 0 ? (wup / w - meanU * meanP) / varianceU : line.slope);
  return { upload: line.upload + meanU, position: meanP, slope };
}

/** Standard error of a fitted slope; neighbouring segments overlap, so only one in three counts as independent. */
function slopeError(points: readonly Point[], line: Line): number {
  let residuals = 0;
  let spread = 0;
  for (const { upload, position } of points) {
    residuals += Math.min(HUBER, Math.abs(position - positionAt(line, upload))) ** 2;
    spread += (upload - line.upload) ** 2;
  }
  const deviation = Math.max(0.1, Math.sqrt(residuals / Math.max(1, points.length - 2)));
  return spread > 0 ? (deviation * Math.sqrt(3)) / Math.sqrt(spread) : Number.POSITIVE_INFINITY;
}
