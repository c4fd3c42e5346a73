import { createHash } from 'node:crypto';
import type { Case } from '../core/case.ts';
import { casesOf } from '../core/review.ts';
import type { ScanRecord } from '../core/scan.ts';
import type { CloudEvent } from '../ports/events.ts';
import type { ScanDependencies } from './dependencies.ts';

/**
 * Tells the world of a finished scan: opens its cases, sends each to the review queue, publishes the verdict, and only
 * then marks the scan as announced. All of it follows from the stored record, so a run that dies half-way is simply
 * repeated: cases exist once, messages and events keep their ids.
 */
export async function announce(scan: ScanRecord, deps: ScanDependencies): Promise<ScanRecord> {
  if (scan.announced) return scan;
  const finishedAt = new Date(scan.finishedAt!);

  for (const item of casesOf(scan, finishedAt)) {
    const created = await deps.cases.create(item);
    const current = created ? item : await deps.cases.get(item.caseId);
    // A case that was decided while an earlier run died, or before a replay, needs nobody's attention again.
    if (current?.state !== 'closed') await deps.reviewQueue.send(JSON.stringify(flaggedEvent(item, scan)));
  }
  await deps.events.publish(finishedEvent(scan));

  const announced = { ...scan, announced: true };
  await deps.scans.put(announced);
  await deps.scans.deleteWindows(scan.scanId);
  return announced;
}

function flaggedEvent(item: Case, scan: ScanRecord): CloudEvent {
  const { referenceId, confidence, coverage, spans, action } = item.detection;
  return cloudEvent('refrain.detection.flagged.v1', `case/${item.caseId}`, scan, {
    schemaVersion: '1.0.0',
    caseId: item.caseId,
    scanId: scan.scanId,
    upload: { ...scan.upload, durationMs: scan.durationMs },
    pipeline: pipelineOf(scan),
    matches: [{ referenceId, confidence, coverage, spans }],
    reasons: item.reasons,
    suggestedAction: action,
    priority: item.priority,
  });
}

function finishedEvent(scan: ScanRecord): CloudEvent {
  const { scanId, upload, verdict, reason, durationMs, searchedMs, detections } = scan;
  return cloudEvent('refrain.scan.finished.v1', `scan/${scanId}`, scan, {
    schemaVersion: '1.0.0',
    scanId,
    upload,
    pipeline: pipelineOf(scan),
    verdict,
    ...(reason && { reason }),
    durationMs,
    searchedMs,
    detections,
  });
}

const pipelineOf = ({ model, indexGeneration, policyVersion }: ScanRecord) => ({
  modelId: model.id,
  modelSha256: model.sha256,
  indexGeneration,
  policyVersion,
});

/** The id follows from what the event says, so that a repeated event is recognised as the same one. */
function cloudEvent<T>(type: string, subject: string, scan: ScanRecord, data: T): CloudEvent<T> {
  const id = createHash('sha256').update(`${type} ${subject} ${scan.finishedAt}`).digest('hex').slice(0, 32);
  return {
    specversion: '1.0',
    id,
    source: '/refrain/scans',
    type,
    subject,
    time: scan.finishedAt!,
    datacontenttype: 'application/json',
    data,
  };
}
