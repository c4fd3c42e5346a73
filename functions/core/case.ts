import { z } from 'zod';
import { Detection } from './detection.ts';
import { ObjectVersion } from './scan.ts';

export const DecisionKind = z.enum(['confirm', 'reject', 'escalate', 'skip']);
export type DecisionKind = z.infer<typeof DecisionKind>;

export const Decision = z.object({
  decision: DecisionKind,
  reason: z.string().min(1),
  by: z.string().min(1),
  at: z.iso.datetime(),
});
export type Decision = z.infer<typeof Decision>;

/** What a moderator decides on: one reference found in one upload. Its history is append-only. */
export const Case = z.object({
  caseId: z.string(),
  scanId: z.string(),
  upload: ObjectVersion,
  detection: Detection,
  state: z.enum(['open', 'escalated', 'closed']),
  /** Why a person should look: stable codes. */
  reasons: z.array(z.string()),
  /** 0..100, higher first. */
  priority: z.int().min(0).max(100),
  decisions: z.array(Decision).default([]),
  /** Counts writes; a conditional update names the version it read. */
  version: z.int().nonnegative(),
  openedAt: z.iso.datetime(),
});
export type Case = z.infer<typeof Case>;
