import { ConditionalCheckFailedException } from '@aws-sdk/client-dynamodb';
import {
  DeleteObjectsCommand,
  GetObjectCommand,
  PutObjectCommand,
  paginateListObjectsV2,
  type S3Client,
} from '@aws-sdk/client-s3';
import { type DynamoDBDocumentClient, UpdateCommand } from '@aws-sdk/lib-dynamodb';
import { RefrainError } from '../../core/errors.ts';
import { ScanRecord } from '../../core/scan.ts';
import type { Page, PageRequest, ScanStore } from '../../ports/stores.ts';
import { oldestFirst, RecordTable } from './table.ts';

const LIST = 'scan';
/** Stands for a verdict while there is none, so that what is not finished can be listed too. */
const UNFINISHED = 'unfinished';

/** Windows that are fetched ahead of the one that is asked for. */
const READ_AHEAD = 8;

/**
 * Scans and their claims in DynamoDB (`TABLES.scans`), listed newest first; their windows in the evidence bucket.
 *
 * A window (60 to 200 KB) would fit into DynamoDB in one or two pieces, but costs there what it weighs, when it is
 * written and again when it is deleted: a day of audio is some 1,500 windows, 6 cents. In S3 it is under one cent,
 * deleting is free, a life cycle sweeps up what a lost scan left behind, and there is no limit to mind.
 */
export class DynamoScanStore implements ScanStore {
  readonly #table: RecordTable<ScanRecord>;
  readonly #s3: S3Client;
  readonly #bucket: string;

  constructor(
    clients: { dynamo: DynamoDBDocumentClient; s3: S3Client },
    tableName: string,
    evidenceBucket: string,
  ) {
    this.#table = new RecordTable(clients.dynamo, tableName, ScanRecord);
    this.#s3 = clients.s3;
    this.#bucket = evidenceBucket;
  }

  get(scanId: string): Promise<ScanRecord | undefined> {
    return this.#table.get({ pk: scanId });
  }

  async claim(
    initial: ScanRecord,
    worker: string,
    nowMs: number,
    untilMs: number,
  ): Promise<ScanRecord | undefined> {
    const attributes = this.#attributesOf(initial);
    try {
      const { Attributes } = await this.#table.client.send(
        new UpdateCommand({
          TableName: this.#table.name,
          Key: { pk: initial.scanId },
          // One write both creates and takes, so that of ten deliveries one wins.
          UpdateExpression: `SET ${Object.keys(attributes)
            .map((name) => `#${name} = if_not_exists(#${name}, :${name})`)
            .join(', ')}, claimedBy = :worker, claimedUntilMs = :until`,
          ConditionExpression:
            'attribute_not_exists(pk) OR (#state <> :done AND ' +
            '(attribute_not_exists(claimedBy) OR claimedBy = :worker OR claimedUntilMs <= :now))',
          ExpressionAttributeNames: hashed(attributes),
          ExpressionAttributeValues: {
            ...coloned(attributes),
            ':done': 'done',
            ':worker': worker,
            ':until': untilMs,
            ':now': nowMs,
          },
          ReturnValues: 'ALL_NEW',
        }),
      );
      return this.#table.decode(Attributes!);
    } catch (error) {
      if (!(error instanceof ConditionalCheckFailedException)) throw error;
      const stored = await this.get(initial.scanId);
      return stored?.state === 'done' ? stored : undefined;
    }
  }

  async release(scanId: string, worker: string): Promise<void> {
    try {
      await this.#table.client.send(
        new UpdateCommand({
          TableName: this.#table.name,
          Key: { pk: scanId },
          UpdateExpression: 'REMOVE claimedBy, claimedUntilMs',
          ConditionExpression: 'claimedBy = :worker',
          ExpressionAttributeValues: { ':worker': worker },
        }),
      );
    } catch (error) {
      // Somebody else's by now, or nobody's: nothing to give back.
      if (!(error instanceof ConditionalCheckFailedException)) throw error;
    }
  }

  async put(record: ScanRecord): Promise<void> {
    const attributes = this.#attributesOf(record);
    await this.#table.client.send(
      new UpdateCommand({
        TableName: this.#table.name,
        Key: { pk: record.scanId },
        // An update and not a put: the claim stays as it is, until there is nothing left to hold it for.
        UpdateExpression: `SET ${Object.keys(attributes)
          .map((name) => `#${name} = :${name}`)
          .join(', ')}${record.announced ? ' REMOVE claimedBy, claimedUntilMs' : ''}`,
        ExpressionAttributeNames: hashed(attributes),
        ExpressionAttributeValues: coloned(attributes),
      }),
    );
  }

  list({
    verdict,
    ...page
  }: PageRequest & { verdict?: ScanRecord['verdict'] } = {}): Promise<Page<ScanRecord>> {
    const index = verdict
      ? { name: 'byVerdict', hash: 'verdict', value: verdict }
      : { name: 'byTime', hash: 'list', value: LIST };
    return this.#table.list({ ...index, keyNames: ['pk'], newestFirst: true }, page);
  }

  /** Scans without a verdict, newest first: what is being worked on, what waits, and what is stuck. */
  listUnfinished(page: PageRequest = {}): Promise<Page<ScanRecord>> {
    const index = { name: 'byVerdict', hash: 'verdict', value: UNFINISHED };
    return this.#table.list({ ...index, keyNames: ['pk'], newestFirst: true }, page);
  }

  async putWindow(scanId: string, window: number, data: Uint8Array): Promise<void> {
    await this.#s3.send(
      new PutObjectCommand({ Bucket: this.#bucket, Key: windowKey(scanId, window), Body: data }),
    );
  }

  async *windows(scanId: string): AsyncIterable<{ window: number; data: Uint8Array }> {
    // S3 lists keys in order, and the numbers in them are padded.
    const ahead: Promise<{ window: number; data: Uint8Array }>[] = [];
    try {
      for await (const key of this.#windowKeys(scanId)) {
        ahead.push(this.#readWindow(key));
        // Rejections are met when their turn comes.
        ahead.at(-1)!.catch(() => {});
        if (ahead.length >= READ_AHEAD) yield await ahead.shift()!;
      }
      while (ahead.length > 0) yield await ahead.shift()!;
    } finally {
      await Promise.allSettled(ahead);
    }
  }

  async deleteWindows(scanId: string): Promise<void> {
    const keys: string[] = [];
    for await (const key of this.#windowKeys(scanId)) keys.push(key);
    for (let start = 0; start < keys.length; start += 1000) {
      const Objects = keys.slice(start, start + 1000).map((Key) => ({ Key }));
      const { Errors } = await this.#s3.send(
        new DeleteObjectsCommand({ Bucket: this.#bucket, Delete: { Objects, Quiet: true } }),
      );
      if (Errors?.length) {
        const { Key, Code, Message } = Errors[0]!;
        throw new RefrainError(
          'WINDOWS_NOT_DELETED',
          `${Errors.length} windows of ${scanId} are still there, first ${Key}: ${Code} ${Message}`,
        );
      }
    }
  }

  async #readWindow(key: string): Promise<{ window: number; data: Uint8Array }> {
    const { Body } = await this.#s3.send(new GetObjectCommand({ Bucket: this.#bucket, Key: key }));
    return { window: Number(key.slice(key.lastIndexOf('/') + 1)), data: await Body!.transformToByteArray() };
  }

  async *#windowKeys(scanId: string): AsyncIterable<string> {
    const request = { Bucket: this.#bucket, Prefix: windowKey(scanId) };
    for await (const { Contents } of paginateListObjectsV2({ client: this.#s3 }, request)) {
      for (const { Key } of Contents ?? []) yield Key!;
    }
  }

  #attributesOf(record: ScanRecord): Record<string, unknown> {
    return {
      list: LIST,
      rank: `${oldestFirst(record.startedAt)}#${record.scanId}`,
      state: record.state,
      verdict: record.verdict ?? UNFINISHED,
      record: this.#table.encode(record),
    };
  }
}

const windowKey = (scanId: string, window?: number): string =>
  `scans/${scanId}/windows/${window === undefined ? '' : String(window).padStart(10, '0')}`;

const hashed = (attributes: Record<string, unknown>) =>
  Object.fromEntries(Object.keys(attributes).map((name) => [`#${name}`, name]));

const coloned = (attributes: Record<string, unknown>) =>
  Object.fromEntries(Object.entries(attributes).map(([name, value]) => [`:${name}`, value]));
