import type { Case } from './case.ts';
import type { Detection } from './detection.ts';
import { caseIdOf } from './ids.ts';
import type { ScanRecord } from './scan.ts';

/** Below this, the first thing a moderator should know is that the match itself is in doubt. */
const SURE = 0.95;

/** The cases that a finished scan opens: one for each reference whose policy wants a person or a block. */
export function casesOf(scan: ScanRecord, openedAt: Date): Case[] {
  return scan.detections
    .filter(({ action }) => action === 'review' || action === 'block')
    .map((detection) => ({
      caseId: caseIdOf(scan.scanId, detection.referenceId),
      scanId: scan.scanId,
      upload: scan.upload,
      detection,
      state: 'open',
      reasons: reasonsOf(detection),
      priority: priorityOf(detection),
      decisions: [],
      version: 0,
      openedAt: openedAt.toISOString(),
    }));
}

function reasonsOf({ confidence, action, spans }: Detection): string[] {
  return [
    ...(action === 'block' ? ['POLICY_BLOCK'] : ['POLICY_REVIEW']),
    ...(confidence < SURE ? ['LOW_CONFIDENCE'] : []),
    ...(spans.some(({ speed }) => Math.abs(speed - 1) > 0.02) ? ['ALTERED_SPEED'] : []),
  ];
}

/** Sure and long matches first; a block that waits is worse than a review that waits. */
function priorityOf({ confidence, coverage, matchedMs, action }: Detection): number {
  const size = Math.max(coverage.upload, coverage.reference, Math.min(1, matchedMs / 60_000));
  return Math.round((action === 'block' ? 20 : 0) + 50 * confidence + 30 * size);
}
