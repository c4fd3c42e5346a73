import { z } from 'zod';
import { Action, type Detection, MatchSpan } from '../../functions/core/detection.ts';
import type { Reference } from '../../functions/core/reference.ts';
import { Reason, type ScanRecord, UnsearchedSpan, Verdict } from '../../functions/core/scan.ts';

/** What the command line says of one scanned file: one JSON line with `--jsonl`, a picture without. */
export const ScanReport = z.object({
  path: z.string(),
  /** `null` where nothing was scanned, because the file could not be read. */
  scanId: z.string().nullable(),
  verdict: Verdict,
  reason: Reason.optional(),
  durationMs: z.number(),
  searchedMs: z.number(),
  unsearched: z.array(UnsearchedSpan).optional(),
  model: z.string().nullable(),
  detections: z.array(
    z.object({
      referenceId: z.string(),
      title: z.string().optional(),
      artist: z.string().optional(),
      /** The file that was registered. */
      path: z.string(),
      confidence: z.number(),
      action: Action,
      coverage: z.object({ upload: z.number(), reference: z.number() }),
      spans: z.array(MatchSpan),
    }),
  ),
});
export type ScanReport = z.infer<typeof ScanReport>;

/** A scan as the command line tells it: detections carry the names of what they found. */
export function reportOf(
  path: string,
  { scanId, verdict, reason, durationMs, searchedMs, unsearched, model, detections }: ScanRecord,
  references: ReadonlyMap<string, Reference>,
): ScanReport {
  return {
    path,
    scanId,
    // A scan that was broken off has no verdict yet, and must not read as clear.
    verdict: verdict ?? 'incomplete',
    ...(reason && { reason }),
    durationMs: durationMs ?? 0,
    searchedMs: searchedMs ?? 0,
    ...(unsearched.length > 0 && { unsearched }),
    model: model.id,
    detections: detections.map((detection) => namedDetection(detection, references)),
  };
}

/** A detection with the names of what it found, which the records keep apart. */
export function namedDetection(
  { referenceId, confidence, action, coverage, spans }: Detection,
  references: ReadonlyMap<string, Reference>,
): ScanReport['detections'][number] {
  const { title, artist, source } = references.get(referenceId) ?? {};
  return {
    referenceId,
    ...(title !== undefined && { title }),
    ...(artist !== undefined && { artist }),
    path: source?.key ?? '',
    confidence,
    action,
    coverage,
    spans,
  };
}

/** What is said of a file that could not even be read. */
export const unreadable = (path: string, reason: Reason): ScanReport => ({
  path,
  scanId: null,
  verdict: 'rejected',
  reason,
  durationMs: 0,
  searchedMs: 0,
  model: null,
  detections: [],
});
