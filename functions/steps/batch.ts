import type { SQSBatchResponse, SQSEvent, SQSRecord } from 'aws-lambda';
import { RefrainError } from '../core/errors.ts';
import type { Log } from '../ports/log.ts';

/**
 * Handles the messages of a batch one after the other and reports those that failed, so that the queue delivers only
 * these again and moves them to the dead letters when they keep failing.
 */
export async function handleBatch(
  event: SQSEvent,
  log: Log,
  handle: (record: SQSRecord) => Promise<void>,
  onFailure?: (error: unknown) => void,
): Promise<SQSBatchResponse> {
  const batchItemFailures: SQSBatchResponse['batchItemFailures'] = [];
  for (const record of event.Records) {
    try {
      await handle(record);
    } catch (error) {
      log.error('message failed', {
        messageId: record.messageId,
        received: record.attributes.ApproximateReceiveCount,
        code: error instanceof RefrainError ? error.code : 'UNEXPECTED',
        error: error instanceof Error ? error : String(error),
      });
      onFailure?.(error);
      batchItemFailures.push({ itemIdentifier: record.messageId });
    }
  }
  return { batchItemFailures };
}
