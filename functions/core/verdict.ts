import type { Action, Detection, MatchSpan } from './detection.ts';
import { detectionIdOf } from './ids.ts';
import { DEFAULT_POLICY, decideAction, type Policy } from './policy.ts';
import type { Reference } from './reference.ts';
import type { Reason, UnsearchedSpan, Verdict } from './scan.ts';
import type { SegmentGrid } from './segment-grid.ts';
import { coveredMs, mergeSpans, type TimeSpan } from './span.ts';

/** A broken packet or two go unheard; more than this and the scan does not speak for the whole file. */
const TOLERATED_UNDECODABLE_MS = 1000;

/** What was searched of an upload, and what was not. */
export interface Listened {
  durationMs: number;
  searchedMs: number;
  unsearched: UnsearchedSpan[];
  truncated: boolean;
  /** Shorter than one segment: nothing could be searched, however loud. */
  tooShort: boolean;
  /** Why the decoder gave up before the end, if it did. */
  brokeOff?: Reason;
}

/**
 * Sums up what was heard: which time the audible segments cover, and why the rest was not searched.
 * The last stretch of less than one hop belongs to no segment of its own and is not counted as missing.
 */
export function sumUp(
  segments: Uint32Array,
  undecodable: readonly TimeSpan[],
  { durationMs, truncated }: { durationMs: number; truncated: boolean },
  grid: SegmentGrid,
): Omit<Listened, 'brokeOff'> {
  const searched = mergeSpans(
    Array.from(segments, (segment) => ({
      startMs: grid.startMs(segment),
      endMs: grid.startMs(segment) + grid.segmentMs,
    })),
  );
  const tooShort = durationMs < grid.segmentMs;
  const unsearched: UnsearchedSpan[] = mergeSpans(undecodable).map((span) => ({
    startMs: Math.round(span.startMs),
    endMs: Math.round(span.endMs),
    why: 'undecodable',
  }));
  const silent = tooShort ? [] : gapsBetween(searched, durationMs, grid.hopMs);
  for (const span of silent) {
    const known = unsearched.some((other) => other.startMs < span.endMs && other.endMs > span.startMs);
    if (!known) unsearched.push({ ...span, why: 'silence' });
  }
  unsearched.sort((a, b) => a.startMs - b.startMs);
  return {
    durationMs: Math.round(durationMs),
    searchedMs: Math.round(Math.min(coveredMs(searched), durationMs)),
    unsearched,
    truncated,
    tooShort,
  };
}

function gapsBetween(searched: readonly TimeSpan[], durationMs: number, toleranceMs: number): TimeSpan[] {
  const gaps: TimeSpan[] = [];
  let from = 0;
  for (const span of [...searched, { startMs: durationMs, endMs: durationMs }]) {
    if (span.startMs - from > toleranceMs) {
      gaps.push({ startMs: Math.round(from), endMs: Math.round(span.startMs) });
    }
    from = Math.max(from, span.endMs);
  }
  return gaps;
}

/** Turns the matched spans of one reference into a detection, with the action its policies ask for. */
export function detectionOf(
  scanId: string,
  reference: Reference,
  spans: readonly MatchSpan[],
  uploadDurationMs: number,
  policies: readonly (Policy | undefined)[],
): Detection {
  const onUpload = coveredMs(spans.map((s) => ({ startMs: s.uploadStartMs, endMs: s.uploadEndMs })));
  const onReference = coveredMs(spans.map((s) => ({ startMs: s.referenceStartMs, endMs: s.referenceEndMs })));
  const measured = {
    confidence: Math.max(...spans.map((span) => span.confidence)),
    coverage: {
      upload: share(onUpload, uploadDurationMs),
      reference: share(onReference, reference.durationMs),
    },
    matchedMs: Math.round(onUpload),
  };
  const stated = policies.filter((policy) => policy !== undefined);
  return {
    detectionId: detectionIdOf(scanId, reference.referenceId),
    referenceId: reference.referenceId,
    ...measured,
    spans: spans.toSorted((a, b) => a.uploadStartMs - b.uploadStartMs),
    action: decideAction(stated.length > 0 ? stated : [DEFAULT_POLICY], measured),
  };
}

const share = (part: number, whole: number) =>
  whole > 0 ? Math.min(1, Number((part / whole).toFixed(4))) : 0;

/** Only these leave an upload `clear` when they are all that was found. */
const HARMLESS: readonly Action[] = ['allow'];

/** The verdict, and the reason where it is not about matches. `clear` is said only of what was searched to the end. */
export function verdictOf(
  detections: readonly Detection[],
  listened: Listened,
): { verdict: Verdict; reason?: Reason } {
  const missing = whyIncomplete(listened);
  if (detections.some(({ action }) => !HARMLESS.includes(action))) {
    return { verdict: 'flagged', ...(missing && { reason: missing }) };
  }
  if (listened.searchedMs === 0)
    return { verdict: 'rejected', reason: listened.brokeOff ?? whySilent(listened) };
  return missing ? { verdict: 'incomplete', reason: missing } : { verdict: 'clear' };
}

function whyIncomplete({ brokeOff, truncated, unsearched, durationMs }: Listened): Reason | undefined {
  if (brokeOff) return brokeOff;
  if (truncated) {
    return {
      code: 'TRUNCATED',
      message: `the file ends after ${seconds(durationMs)}, before its own header says it does`,
    };
  }
  const undecodableMs = coveredMs(unsearched.filter(({ why }) => why === 'undecodable'));
  if (undecodableMs <= TOLERATED_UNDECODABLE_MS) return undefined;
  return { code: 'UNDECODABLE_SPANS', message: `${seconds(undecodableMs)} of the audio cannot be decoded` };
}

function whySilent({ durationMs, unsearched, truncated, tooShort }: Listened): Reason {
  if (unsearched.some(({ why }) => why === 'undecodable')) {
    return { code: 'UNDECODABLE', message: `none of the ${seconds(durationMs)} can be decoded` };
  }
  if (tooShort) {
    return {
      code: truncated ? 'TRUNCATED' : 'TOO_SHORT',
      message: `${seconds(durationMs)} of audio is too little to identify anything`,
    };
  }
  return { code: 'SILENT', message: `all ${seconds(durationMs)} are silent: there is nothing to search` };
}

const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;
