import type { Case, Decision } from './case.ts';
import type { Detection } from './detection.ts';
import { ConflictError } from './errors.ts';
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

/**
 * The case after a decision: `confirm` and `reject` close it, `escalate` hands it up, `skip` leaves it where it is.
 * The history only ever grows. Saying the same again gives the case as it is, so that a repeated request does no harm.
 * @throws ConflictError when the case is closed, or escalated already
 */
export function decideCase(item: Case, decision: Decision): Case {
  if (isRepeated(item, decision)) return item;
  const last = item.decisions.at(-1);
  if (item.state === 'closed') {
    throw new ConflictError(
      `case ${item.caseId} is closed: ${last?.by ?? 'somebody'} said "${last?.decision}" on ${last?.at ?? item.openedAt}`,
    );
  }
  if (item.state === 'escalated' && decision.decision === 'escalate') {
    throw new ConflictError(`case ${item.caseId} is escalated already; confirm or reject it`);
  }
  return {
    ...item,
    state: STATE_AFTER[decision.decision] ?? item.state,
    decisions: [...item.decisions, decision],
    version: item.version + 1,
  };
}

const STATE_AFTER: Partial<Record<Decision['decision'], Case['state']>> = {
  confirm: 'closed',
  reject: 'closed',
  escalate: 'escalated',
};

function isRepeated({ decisions }: Case, { decision, by, reason }: Decision): boolean {
  const last = decisions.at(-1);
  return last?.decision === decision && last.by === by && last.reason === reason;
}
