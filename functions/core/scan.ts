import { z } from 'zod';
import { Detection } from './detection.ts';
import { TimeSpan } from './span.ts';

/** One version of one object. `versionId` is absent in unversioned buckets, where `etag` names the content. */
export const ObjectVersion = z.object({
  bucket: z.string().min(1),
  key: z.string().min(1),
  versionId: z.string().optional(),
  etag: z.string().optional(),
  size: z.int().nonnegative().optional(),
});
export type ObjectVersion = z.infer<typeof ObjectVersion>;

/** `flagged` wins over `incomplete`, and `clear` is said only of what was searched to the end. */
export const Verdict = z.enum(['clear', 'flagged', 'rejected', 'incomplete']);
export type Verdict = z.infer<typeof Verdict>;

/** Why an upload was refused, or a scan is incomplete: a stable code for machines, a sentence for people. */
export const Reason = z.object({ code: z.string(), message: z.string() });
export type Reason = z.infer<typeof Reason>;

export const UnsearchedSpan = TimeSpan.extend({ why: z.enum(['silence', 'undecodable']) });
export type UnsearchedSpan = z.infer<typeof UnsearchedSpan>;

/** The record of the work on one version of one upload. */
export const ScanRecord = z.object({
  scanId: z.string(),
  upload: ObjectVersion,
  model: z.object({ id: z.string(), sha256: z.string() }),
  state: z.enum(['scanning', 'done', 'failed']),
  verdict: Verdict.optional(),
  reason: Reason.optional(),
  durationMs: z.number().nonnegative().optional(),
  searchedMs: z.number().nonnegative().optional(),
  unsearched: z.array(UnsearchedSpan).default([]),
  detections: z.array(Detection).default([]),
  /** Which state of the catalogue, and which rules, the verdict rests on. */
  indexGeneration: z.int().nonnegative().optional(),
  policyVersion: z.int().nonnegative().optional(),
  /** Set once every review message and event of this scan has been handed over. */
  announced: z.boolean().default(false),
  attempts: z.int().nonnegative().default(0),
  startedAt: z.iso.datetime(),
  finishedAt: z.iso.datetime().optional(),
});
export type ScanRecord = z.infer<typeof ScanRecord>;
