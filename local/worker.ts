import type { SQSBatchResponse, SQSEvent } from 'aws-lambda';
import type { LocalQueue } from './adapters/queue.ts';

/** What Lambda would tell a handler of its invocation. One machine has all the time it needs. */
const localInvocation = {
  // The same name for every run on this store: a run that was killed left its claims to the next one.
  awsRequestId: 'local',
  getRemainingTimeInMillis: () => Number.MAX_SAFE_INTEGER,
};

type Handler = (event: SQSEvent, invocation: typeof localInvocation) => Promise<SQSBatchResponse>;

/**
 * Does what Lambda's event source mapping does: hands messages to a handler, deletes those that went well and gives
 * the others back to the queue, which moves them to its dead letters when they keep failing.
 * Resolves when no message is visible any more, or after the message in hand when `signal` is raised.
 */
export async function drain(queue: LocalQueue, handler: Handler, signal?: AbortSignal): Promise<void> {
  while (!signal?.aborted) {
    const [record] = await queue.receive({ max: 1 });
    if (!record) return;
    const { batchItemFailures } = await handler({ Records: [record] }, localInvocation);
    if (batchItemFailures.length > 0) await queue.changeVisibility(record.receiptHandle, 0);
    else await queue.delete(record.receiptHandle);
  }
}
