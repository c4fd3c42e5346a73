import type { SQSBatchResponse, SQSEvent, SQSRecord } from 'aws-lambda';

/** The receiving side of a local queue, as far as a worker needs it. */
export interface ReceivableQueue {
  receive(options?: { max?: number }): SQSRecord[] | Promise<SQSRecord[]>;
  delete(receiptHandle: string): void | Promise<void>;
  changeVisibility(receiptHandle: string, seconds: number): void | Promise<void>;
}

/** What Lambda would tell a handler of its invocation. One machine has all the time it needs. */
export const localInvocation = {
  // The same name for every run on this store: a run that was killed left its claims to the next one.
  awsRequestId: 'local',
  getRemainingTimeInMillis: () => Number.MAX_SAFE_INTEGER,
};

type Handler = (event: SQSEvent, invocation: typeof localInvocation) => Promise<SQSBatchResponse>;

/**
 * Does what Lambda's event source mapping does: hands messages to a handler, deletes those that went well and gives
 * the others back to the queue, which moves them to its dead letters when they keep failing.
 * Resolves when no message is visible any more.
 */
export async function drain(queue: ReceivableQueue, handler: Handler, signal?: AbortSignal): Promise<void> {
  while (!signal?.aborted) {
    const records = await queue.receive({ max: 1 });
    if (records.length === 0) return;
    const { batchItemFailures } = await handler({ Records: records }, localInvocation);
    const failed = new Set(batchItemFailures.map(({ itemIdentifier }) => itemIdentifier));
    for (const record of records) {
      if (failed.has(record.messageId)) await queue.changeVisibility(record.receiptHandle, 0);
      else await queue.delete(record.receiptHandle);
    }
  }
}
