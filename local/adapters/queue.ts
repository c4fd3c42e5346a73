import { createHash, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { SQSRecord } from 'aws-lambda';
import type { QueueSender } from '../../functions/ports/queue.ts';
import type { Database, Row } from '../store/database.ts';
import { StoreError } from '../store/errors.ts';

export interface QueueOptions {
  /** A message that was received this often and never deleted goes to the dead letters. Default 5. */
  maxReceives?: number;
  now?: () => number;
}

export interface ReceiveOptions {
  /** At most so many messages, 1..10. Default 10. */
  max?: number;
  /** For how long the received messages stay hidden from other receivers, s. Default 30. */
  visibilitySeconds?: number;
  /** How long to wait for a message when there is none, s. Default 0. */
  waitSeconds?: number;
  signal?: AbortSignal;
}

/** Messages longer than this are refused, as SQS does, bytes. */
const LARGEST_BODY = 1024 * 1024;
/** What the queue for the dead letters of a queue is called. Dead letters themselves never die. */
const DEAD_LETTERS = '-dlq';
/** While waiting: how often to look for messages that became visible, ms. */
const POLL_MS = 50;

/**
 * A durable queue that behaves like SQS: a received message is hidden for a while, comes back unless it is deleted, and
 * moves to the dead letters after too many tries. What it delivers are SQS records, ready for an `SQSEvent`.
 */
export class LocalQueue implements QueueSender {
  readonly name: string;
  readonly deadLetters: string;
  readonly #db: Database;
  readonly #maxReceives: number;
  readonly #now: () => number;

  constructor(db: Database, name: string, { maxReceives = 5, now = Date.now }: QueueOptions = {}) {
    this.#db = db;
    this.name = name;
    this.deadLetters = name + DEAD_LETTERS;
    this.#maxReceives = name.endsWith(DEAD_LETTERS) ? Number.MAX_SAFE_INTEGER : maxReceives;
    this.#now = now;
  }

  async send(body: string, { delaySeconds = 0 }: { delaySeconds?: number } = {}): Promise<void> {
    if (Buffer.byteLength(body) > LARGEST_BODY || body.length === 0) {
      throw new StoreError('BAD_MESSAGE', `A message to "${this.name}" must have 1 to ${LARGEST_BODY} bytes`);
    }
    const now = this.#now();
    this.#db.run(
      'INSERT INTO message (queue, message_id, body, sent_ms, visible_ms) VALUES (?, ?, ?, ?, ?)',
      this.name,
      randomUUID(),
      body,
      now,
      now + delaySeconds * 1000,
    );
  }

  /** The oldest visible messages; waits for one when there is none, and resolves to none when the wait is over. */
  async receive({
    max = 10,
    visibilitySeconds = 30,
    waitSeconds = 0,
    signal,
  }: ReceiveOptions = {}): Promise<SQSRecord[]> {
    const patience = Date.now() + waitSeconds * 1000;
    for (;;) {
      signal?.throwIfAborted();
      const records = this.#take(max, visibilitySeconds);
      if (records.length > 0 || Date.now() >= patience) return records;
      await sleep(POLL_MS, undefined, signal && { signal });
    }
  }

  /** Done with a message. A receipt that ran out meanwhile deletes nothing; resolves to whether it did. */
  async delete(receiptHandle: string): Promise<boolean> {
    return (
      this.#db.run('DELETE FROM message WHERE queue = ? AND receipt = ?', this.name, receiptHandle) === 1
    );
  }

  /** Hides a received message for so long from now on; 0 gives it back at once. Resolves to whether it was still ours. */
  async changeVisibility(receiptHandle: string, visibilitySeconds: number): Promise<boolean> {
    const changed = this.#db.run(
      'UPDATE message SET visible_ms = ? WHERE queue = ? AND receipt = ?',
      this.#now() + visibilitySeconds * 1000,
      this.name,
      receiptHandle,
    );
    return changed === 1;
  }

  /** The oldest messages, left where they are: those that wait, are in work, or are delayed. */
  async peek(limit = 10): Promise<{ messageId: string; body: string; receives: number }[]> {
    const rows = this.#db.all(
      'SELECT message_id, body, receives FROM message WHERE queue = ? ORDER BY sequence LIMIT ?',
      this.name,
      limit,
    );
    return rows.map((row) => ({
      messageId: String(row.message_id),
      body: String(row.body),
      receives: Number(row.receives),
    }));
  }

  /** Sends up to `limit` dead letters back to the queue, with a fresh count; resolves to how many. */
  async redrive(limit = Number.MAX_SAFE_INTEGER): Promise<number> {
    return this.#db.run(
      `UPDATE message SET queue = ?, visible_ms = ?, receives = 0, receipt = NULL, first_received_ms = NULL
       WHERE sequence IN (SELECT sequence FROM message WHERE queue = ? ORDER BY sequence LIMIT ?)`,
      this.name,
      this.#now(),
      this.deadLetters,
      limit,
    );
  }

  async stats(): Promise<{ visible: number; inFlight: number; delayed: number; dead: number }> {
    const count = { visible: 0, inFlight: 0, delayed: 0, dead: 0 };
    const rows = this.#db.all(
      `SELECT CASE WHEN queue = ?1 OR visible_ms <= ?2 AND receives >= ?3 THEN 'dead'
                   WHEN visible_ms <= ?2 THEN 'visible'
                   WHEN receipt IS NOT NULL THEN 'inFlight'
                   ELSE 'delayed' END AS state, count(*) AS n
       FROM message WHERE queue IN (?1, ?4) GROUP BY state`,
      this.deadLetters,
      this.#now(),
      this.#maxReceives,
      this.name,
    );
    for (const row of rows) count[row.state as keyof typeof count] = Number(row.n);
    return count;
  }

  #take(max: number, visibilitySeconds: number): SQSRecord[] {
    return this.#db.transaction(() => {
      this.#bury();
      const now = this.#now();
      const rows = this.#db.all(
        'SELECT * FROM message WHERE queue = ? AND visible_ms <= ? ORDER BY visible_ms, sequence LIMIT ?',
        this.name,
        now,
        Math.min(Math.max(1, max), 10),
      );
      return rows.map((row) => {
        const receipt = randomUUID();
        this.#db.run(
          `UPDATE message SET receipt = ?, visible_ms = ?, receives = receives + 1,
             first_received_ms = coalesce(first_received_ms, ?) WHERE sequence = ?`,
          receipt,
          now + visibilitySeconds * 1000,
          now,
          row.sequence as number,
        );
        return sqsRecord(row, receipt, now);
      });
    });
  }

  /** Moves what came back once too often to the dead letters. */
  #bury(): void {
    this.#db.run(
      `UPDATE message SET queue = ?, receipt = NULL WHERE queue = ? AND visible_ms <= ? AND receives >= ?`,
      this.deadLetters,
      this.name,
      this.#now(),
      this.#maxReceives,
    );
  }
}

/**
 * Gives back what an earlier process had received. For the one writer of a store, when it starts: nobody else can be at
 * these messages. When that process was killed, the try does not count: the message did not fail.
 */
export function giveBackReceived(db: Database, { killed }: { killed: boolean }): void {
  db.run(
    'UPDATE message SET visible_ms = 0, receipt = NULL, receives = receives - ? WHERE receipt IS NOT NULL',
    killed ? 1 : 0,
  );
}

function sqsRecord(row: Row, receiptHandle: string, now: number): SQSRecord {
  const body = String(row.body);
  return {
    messageId: String(row.message_id),
    receiptHandle,
    body,
    attributes: {
      ApproximateReceiveCount: String(Number(row.receives) + 1),
      SentTimestamp: String(row.sent_ms),
      SenderId: 'local',
      ApproximateFirstReceiveTimestamp: String(row.first_received_ms ?? now),
    },
    messageAttributes: {},
    md5OfBody: createHash('md5').update(body).digest('hex'),
    eventSource: 'aws:sqs',
    eventSourceARN: `arn:aws:sqs:local:000000000000:${row.queue}`,
    awsRegion: 'local',
  };
}
