import { ChangeMessageVisibilityBatchCommand, type SQSClient } from '@aws-sdk/client-sqs';
import type { SQSBatchResponse, SQSEvent } from 'aws-lambda';
import type { Log } from '../../ports/log.ts';

const FACTOR = 3;
const MAX_SECONDS = 900;

/**
 * Lets failed messages come back after a pause that grows with every try.
 *
 * Without this they would come back when their visibility time-out ends, and that has to be six times the function's
 * own: an hour and a half for an outage of seconds.
 */
export async function shortenRedelivery(
  { Records }: SQSEvent,
  { batchItemFailures }: SQSBatchResponse,
  { sqs, queueUrl, baseSeconds, log }: { sqs: SQSClient; queueUrl: string; baseSeconds: number; log: Log },
): Promise<void> {
  const failed = new Set(batchItemFailures.map(({ itemIdentifier }) => itemIdentifier));
  const Entries = Records.filter(({ messageId }) => failed.has(messageId)).map((record, i) => {
    const tries = Number(record.attributes.ApproximateReceiveCount);
    const bound = Math.min(MAX_SECONDS, baseSeconds * FACTOR ** (tries - 1));
    return {
      Id: String(i),
      ReceiptHandle: record.receiptHandle,
      VisibilityTimeout: Math.ceil(bound * (0.5 + Math.random() / 2)),
    };
  });
  if (Entries.length === 0) return;
  await sqs
    .send(new ChangeMessageVisibilityBatchCommand({ QueueUrl: queueUrl, Entries }))
    // The queue's own time-out brings them back in any case.
    .catch((error) => log.warn('failed messages come back late', { error }));
}
