import { z } from 'zod';

/** A half-open stretch of time, `[startMs, endMs)`. */
export const TimeSpan = z.object({ startMs: z.number().nonnegative(), endMs: z.number().nonnegative() });
export type TimeSpan = z.infer<typeof TimeSpan>;

/** Joins what overlaps or lies at most `gapMs` apart; the result is sorted. */
export function mergeSpans(spans: readonly TimeSpan[], gapMs = 0): TimeSpan[] {
  const merged: TimeSpan[] = [];
  for (const span of [...spans].sort((a, b) => a.startMs - b.startMs)) {
    const last = merged.at(-1);
    if (last && span.startMs <= last.endMs + gapMs) last.endMs = Math.max(last.endMs, span.endMs);
    else merged.push({ ...span });
  }
  return merged;
}

/** The time that the spans cover together, counting overlaps once. */
export function coveredMs(spans: readonly TimeSpan[]): number {
  return mergeSpans(spans).reduce((sum, span) => sum + (span.endMs - span.startMs), 0);
}

/** A stretch of an upload that is a stretch of a reference. */
interface Paired {
  uploadStartMs: number;
  uploadEndMs: number;
  referenceStartMs: number;
  referenceEndMs: number;
  /** Seconds of the reference that pass in one second of the upload. */
  speed: number;
}

/** Edges of a match are known to about a second: a shorter remainder may be none at all. */
const SHORTEST_REMAINDER_MS = 1500;

/**
 * What is left of a match when stretches of the reference do not count, in order: it is cut on both clocks, and what
 * remains is too short to mean anything is dropped. Times are rounded to whole milliseconds.
 */
export function withoutExcluded<Match extends Paired>(match: Match, excluded: readonly TimeSpan[]): Match[] {
  const { uploadStartMs, uploadEndMs, referenceStartMs, referenceEndMs, speed } = match;
  const hit = mergeSpans(excluded).filter(
    ({ startMs, endMs }) => startMs < referenceEndMs && endMs > referenceStartMs && startMs < endMs,
  );
  if (hit.length === 0) return [match];

  const onUpload = (referenceMs: number) =>
    Math.min(uploadEndMs, Math.round(uploadStartMs + (referenceMs - referenceStartMs) / speed));
  const left: Match[] = [];
  let fromMs = referenceStartMs;
  for (const { startMs, endMs } of [...hit, { startMs: referenceEndMs, endMs: referenceEndMs }]) {
    left.push({
      ...match,
      uploadStartMs: onUpload(fromMs),
      uploadEndMs: startMs < referenceEndMs ? onUpload(startMs) : uploadEndMs,
      referenceStartMs: Math.round(fromMs),
      referenceEndMs: Math.round(startMs),
    });
    fromMs = endMs;
  }
  return left.filter((span) => span.uploadEndMs - span.uploadStartMs >= SHORTEST_REMAINDER_MS);
}
