import type { Context, SQSBatchResponse, SQSEvent, SQSRecord } from 'aws-lambda';
import { objectCreated, parseScanRequest } from '../core/requests.ts';
import type { ObjectVersion } from '../core/scan.ts';
import { handleBatch } from '../steps/batch.ts';
import type { ScanDependencies, ScanHooks, ScanRun } from './dependencies.ts';
import { type ScanOutcome, scanUpload } from './walk.ts';

/** How long a request waits before it asks again whether another run has finished the same scan, s. */
const BUSY_DELAY_SECONDS = 30;

type Invocation = Pick<Context, 'awsRequestId' | 'getRemainingTimeInMillis'>;

/**
 * The scan function: each message of the `scan-requests` queue is an S3 notification; each upload that it names is
 * walked from end to end. A message that fails is reported by itself, so that the queue delivers only it again.
 */
export const createScanHandler =
  (deps: ScanDependencies, { onFinished, onFailure, ...hooks }: ScanHooks = {}) =>
  (event: SQSEvent, invocation: Invocation): Promise<SQSBatchResponse> => {
    const run: ScanRun = {
      worker: invocation.awsRequestId,
      remainingMs: () => invocation.getRemainingTimeInMillis(),
      ...hooks,
    };
    const handle = async (record: SQSRecord) => {
      for (const upload of parseScanRequest(record.body)) {
        const outcome = await scanUpload(upload, deps, run);
        if (outcome.kind === 'done') onFinished?.(outcome.scan);
        await followUp(outcome, upload, deps);
      }
    };
    return handleBatch(event, deps.log, handle, onFailure);
  };

async function followUp(outcome: ScanOutcome, upload: ObjectVersion, deps: ScanDependencies): Promise<void> {
  switch (outcome.kind) {
    case 'done': {
      const { scanId, verdict, reason, detections } = outcome.scan;
      deps.log.info('scan finished', { scanId, verdict, reason, detections: detections.length });
      return;
    }
    // A fresh message rather than a failed one: neither case is a fault that should count towards the dead letters.
    case 'continue':
      deps.log.info('scan goes on in a later run', { scanId: outcome.scanId });
      return deps.scanRequests.send(objectCreated(upload));
    case 'busy':
      deps.log.info('another run is at this scan', { scanId: outcome.scanId });
      return deps.scanRequests.send(objectCreated(upload), { delaySeconds: BUSY_DELAY_SECONDS });
  }
}
