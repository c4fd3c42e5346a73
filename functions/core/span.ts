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
