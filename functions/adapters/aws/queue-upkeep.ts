import { setTimeout as sleep } from 'node:timers/promises';
import {
  DeleteMessageCommand,
  GetQueueAttributesCommand,
  ListMessageMoveTasksCommand,
  type ListMessageMoveTasksResultEntry,
  ReceiveMessageCommand,
  SendMessageCommand,
  type SQSClient,
  SQSServiceException,
  StartMessageMoveTaskCommand,
} from '@aws-sdk/client-sqs';
import { RefrainError } from '../../core/errors.ts';

export interface QueueCounts {
  /** Can be received now. */
  waiting: number;
  /** Received, and neither deleted nor given back. */
  inWork: number;
  /** Their time has not come yet. */
  delayed: number;
}

/** How often a move that goes on at SQS is looked at. */
const POLL_MS = 1000;
/** Long enough to send and delete ten messages. */
const BY_HAND_SECONDS = 60;

/** A queue and its dead letters, for who looks after them. */
export class SqsQueueUpkeep {
  readonly #client: SQSClient;
  readonly #url: string;
  readonly #deadLettersUrl: string;

  constructor(client: SQSClient, urls: { url: string; deadLettersUrl: string }) {
    this.#client = client;
    this.#url = urls.url;
    this.#deadLettersUrl = urls.deadLettersUrl;
  }

  /** The queue's own name, by which CloudWatch knows it. */
  get name(): string {
    return this.#url.slice(this.#url.lastIndexOf('/') + 1);
  }

  /** Approximate, as SQS counts. */
  async counts(): Promise<QueueCounts & { dead: number }> {
    const [queue, deadLetters] = await Promise.all([
      this.#countsOf(this.#url),
      this.#countsOf(this.#deadLettersUrl),
    ]);
    return { ...queue, dead: deadLetters.waiting + deadLetters.inWork };
  }

  /**
   * Moves the dead letters back to the queue. SQS does it by itself; where it will not (a permission is missing, or the
   * server knows no such task), each message is sent before it is deleted, so that a run that dies doubles one and loses
   * none.
   * @returns how many went back
   */
  async redrive(): Promise<number> {
    const SourceArn = await this.#deadLettersArn();
    let before: ListMessageMoveTasksResultEntry | undefined;
    try {
      before = await this.#lastMove(SourceArn);
      await this.#client.send(new StartMessageMoveTaskCommand({ SourceArn }));
    } catch (error) {
      if (!isRefusal(error)) throw error;
      return this.#redriveByHand();
    }
    for (;;) {
      const move = await this.#lastMove(SourceArn);
      // The list may be a moment late, and know of an earlier move only.
      if (move && move.StartedTimestamp !== before?.StartedTimestamp) {
        if (move.Status === 'COMPLETED') return move.ApproximateNumberOfMessagesMoved ?? 0;
        if (move.Status !== 'RUNNING') {
          throw new RefrainError(
            'REDRIVE',
            `SQS stopped moving dead letters of ${this.name}: ${move.FailureReason ?? move.Status}`,
          );
        }
      }
      await sleep(POLL_MS);
    }
  }

  async #lastMove(SourceArn: string): Promise<ListMessageMoveTasksResultEntry | undefined> {
    const { Results } = await this.#client.send(
      new ListMessageMoveTasksCommand({ SourceArn, MaxResults: 1 }),
    );
    return Results?.[0];
  }

  async #redriveByHand(): Promise<number> {
    const sent = new Set<string | undefined>();
    for (;;) {
      const { Messages = [] } = await this.#client.send(
        new ReceiveMessageCommand({
          QueueUrl: this.#deadLettersUrl,
          MaxNumberOfMessages: 10,
          VisibilityTimeout: BY_HAND_SECONDS,
          WaitTimeSeconds: 1,
          MessageAttributeNames: ['All'],
        }),
      );
      if (Messages.length === 0) return sent.size;
      for (const { Body, MessageAttributes, MessageId, ReceiptHandle } of Messages) {
        // It came back already: what ails it is still there.
        if (sent.has(MessageId)) return sent.size;
        const again = await this.#client.send(
          new SendMessageCommand({ QueueUrl: this.#url, MessageBody: Body, MessageAttributes }),
        );
        sent.add(again.MessageId);
        await this.#client.send(new DeleteMessageCommand({ QueueUrl: this.#deadLettersUrl, ReceiptHandle }));
      }
    }
  }

  async #countsOf(QueueUrl: string): Promise<QueueCounts> {
    const { Attributes = {} } = await this.#client.send(
      new GetQueueAttributesCommand({
        QueueUrl,
        AttributeNames: [
          'ApproximateNumberOfMessages',
          'ApproximateNumberOfMessagesNotVisible',
          'ApproximateNumberOfMessagesDelayed',
        ],
      }),
    );
    return {
      waiting: Number(Attributes.ApproximateNumberOfMessages),
      inWork: Number(Attributes.ApproximateNumberOfMessagesNotVisible),
      delayed: Number(Attributes.ApproximateNumberOfMessagesDelayed),
    };
  }

  async #deadLettersArn(): Promise<string> {
    const { Attributes } = await this.#client.send(
      new GetQueueAttributesCommand({ QueueUrl: this.#deadLettersUrl, AttributeNames: ['QueueArn'] }),
    );
    return Attributes!.QueueArn!;
  }
}

/** The service understood, and does not want to; an outage or a throttled call is something else. */
const isRefusal = (error: unknown): boolean =>
  error instanceof SQSServiceException && error.$fault === 'client' && !/Throttl/.test(error.name);
