import { createHash } from 'node:crypto';
import type { Case, Decision } from '../core/case.ts';
import { RefrainError } from '../core/errors.ts';
import { decideCase } from '../core/review.ts';
import type { Clock } from '../ports/clock.ts';
import type { CloudEvent, EventBus } from '../ports/events.ts';
import type { CaseStore } from '../ports/stores.ts';

export interface ReviewDependencies {
  cases: CaseStore;
  events: EventBus;
  clock: Clock;
}

/**
 * Writes a decision into a case, then tells of it. A run that dies in between is repeated by saying the same again:
 * the decision stands once, and the event keeps its id.
 * @throws RefrainError CASE_NOT_FOUND
 * @throws ConflictError when the case is closed, escalated already, or was changed by somebody else just now
 */
export async function decide(
  caseId: string,
  decision: Omit<Decision, 'at'>,
  { cases, events, clock }: ReviewDependencies,
): Promise<Case> {
  const item = await cases.get(caseId);
  if (!item) {
    throw new RefrainError('CASE_NOT_FOUND', `there is no case ${caseId}; "refrain cases" lists them`);
  }
  const decided = decideCase(item, { ...decision, at: clock.now().toISOString() });
  if (decided !== item) await cases.update(decided);
  await events.publish(decidedEvent(decided));
  return decided;
}

function decidedEvent(item: Case): CloudEvent {
  const { caseId, scanId, upload, state, detection, version } = item;
  const decision = item.decisions.at(-1)!;
  const type = 'refrain.case.decided.v1';
  return {
    specversion: '1.0',
    id: createHash('sha256').update(`${type} ${caseId} ${version}`).digest('hex').slice(0, 32),
    source: '/refrain/review',
    type,
    subject: `case/${caseId}`,
    time: decision.at,
    datacontenttype: 'application/json',
    data: {
      schemaVersion: '1.0.0',
      caseId,
      scanId,
      upload,
      referenceId: detection.referenceId,
      state,
      ...decision,
    },
  };
}
