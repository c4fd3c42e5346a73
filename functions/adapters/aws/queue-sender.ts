import { SendMessageCommand, type SQSClient } from '@aws-sdk/client-sqs';
import type { QueueSender } from '../../ports/queue.ts';

/** Sends to one SQS queue. */
export class SqsQueueSender implements QueueSender {
  readonly #client: SQSClient;
  readonly #queueUrl: string;

  constructor(client: SQSClient, queueUrl: string) {
    this.#client = client;
    this.#queueUrl = queueUrl;
  }

  async send(body: string, { delaySeconds }: { delaySeconds?: number } = {}): Promise<void> {
    await this.#client.send(
      new SendMessageCommand({
        QueueUrl: this.#queueUrl,
        MessageBody: body,
        ...(delaySeconds !== undefined && { DelaySeconds: delaySeconds }),
      }),
    );
  }
}
