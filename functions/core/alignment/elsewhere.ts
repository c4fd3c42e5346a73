import type { SegmentGrid } from '../segment-grid.ts';
import type { QuantisedVectors } from '../segments.ts';
import type { Extent } from './extent.ts';
import type { MatchedSpan } from './index.ts';
import { isCovered } from './other-speeds.ts';
import { cosine, type StoredReference } from './similarity.ts';

// Loops and refrains sound alike at several places of a recording, and a few segments do not tell which of them it is.

/** Places that are looked at. */
const MOST_PLACES = 4;
/** Places are apart by as many segments as the waveforms are searched for around each. */
const APART = 2;
/** A place is as likely as the best one unless its mean cosine is lower by this: half a hop off the grid costs up to 0.1. */
const LESS_ALIKE = 0.15;
/** What of a span is compared, in segments. */
const MOST_ROWS = 20;

/**
 * Where in a recording a span of the upload may lie at the recording's own speed: by how much the recording's time is
 * ahead of the upload's, ms, most alike first.
 */
export function likelyPlaces(
  { uploadStartMs, uploadEndMs }: Extent,
  { segments, vectors }: QuantisedVectors,
  reference: StoredReference,
  grid: SegmentGrid,
): number[] {
  const dimension = segments.length === 0 ? 0 : vectors.length / segments.length;
  const rows = [...segments.keys()].filter((row) => {
    const centreMs = grid.centreMs(segments[row]!);
    return centreMs > uploadStartMs && centreMs < uploadEndMs;
  });
  const some = rows.slice(Math.max(0, (rows.length - MOST_ROWS) >> 1)).slice(0, MOST_ROWS);
  if (some.length === 0) return [];

  const likeness = (ahead: number): number => {
    let [sum, count] = [0, 0];
    for (const row of some) {
      const stored = reference.row(segments[row]! + ahead);
      if (stored < 0) continue;
      sum += cosine(vectors, row * dimension, reference.vectors, stored * dimension, dimension);
      count++;
    }
    return count < some.length / 2 ? Number.NEGATIVE_INFINITY : sum / count;
  };
  const from = -segments[some.at(-1)!]!;
  const places = Array.from({ length: reference.length - segments[some[0]!]! - from }, (_, i) => ({
    ahead: from + i,
    likeness: likeness(from + i),
  })).sort((a, b) => b.likeness - a.likeness);

  const likely: typeof places = [];
  for (const place of places) {
    if (likely.length === MOST_PLACES || !(place.likeness > places[0]!.likeness - LESS_ALIKE)) break;
    if (likely.every(({ ahead }) => Math.abs(ahead - place.ahead) >= APART)) likely.push(place);
  }
  return likely.map(({ ahead }) => ahead * grid.hopMs);
}

/** By how much the recording's time is ahead of the upload's in the middle of a span, ms. */
export const aheadOf = ({ uploadStartMs, uploadEndMs, referenceStartMs, referenceEndMs }: Extent): number =>
  (referenceStartMs + referenceEndMs - uploadStartMs - uploadEndMs) / 2;

/** Whether half of `span` is in `other`, at the same place of the same recording, give or take `withinMs`. */
const isSamePlace = (span: MatchedSpan, other: MatchedSpan, withinMs: number): boolean =>
  span.referenceId === other.referenceId &&
  Math.abs(aheadOf(span) - aheadOf(other)) < withinMs &&
  isCovered(span, [other]);

/**
 * What is heard twice, or found at another place of its recording than it was traced at, may have been found there already.
 * Of such matches one stays: what is sure before what is not; of sure ones the longest, of others the most confident.
 *
 * @returns in the order of the upload
 */
export function withoutDoubles(
  spans: readonly MatchedSpan[],
  threshold: number,
  withinMs: number,
): MatchedSpan[] {
  const isSure = ({ confidence }: MatchedSpan) => confidence >= threshold;
  const lengthOf = ({ uploadStartMs, uploadEndMs }: MatchedSpan) => uploadEndMs - uploadStartMs;
  const single: MatchedSpan[] = [];
  // Half a day of music has thousands of matches: each is compared with what lies near it in its recording.
  const near = new Map<string, MatchedSpan[]>();
  const keptAt = (span: MatchedSpan, beside = 0): MatchedSpan[] => {
    const place = `${Math.floor(aheadOf(span) / withinMs) + beside} ${span.referenceId}`;
    return near.get(place) ?? near.set(place, []).get(place)!;
  };
  for (const span of [
    ...spans.filter(isSure).sort((a, b) => lengthOf(b) - lengthOf(a)),
    ...spans.filter((span) => !isSure(span)).sort((a, b) => b.confidence - a.confidence),
  ]) {
    const isKnown = (other: MatchedSpan) => isSamePlace(span, other, withinMs);
    if ([-1, 0, 1].some((beside) => keptAt(span, beside).some(isKnown))) continue;
    single.push(span);
    keptAt(span).push(span);
  }
  return single.sort((a, b) => a.uploadStartMs - b.uploadStartMs);
}
