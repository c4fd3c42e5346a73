import { gunzipSync, gzipSync } from 'node:zlib';
import {
  BatchGetCommand,
  type DynamoDBDocumentClient,
  GetCommand,
  QueryCommand,
} from '@aws-sdk/lib-dynamodb';
import { z } from 'zod';
import { RefrainError } from '../../core/errors.ts';
import type { Page, PageRequest } from '../../ports/stores.ts';
import { withRetries } from './retry.ts';

export type Key = Record<string, string>;
type Item = Record<string, unknown>;

/** Records up to this size stay readable in the DynamoDB console, bytes of JSON. */
const PLAIN_BYTES = 64 * 1024;
const BATCH_GET_KEYS = 100;
const DEFAULT_LIMIT = 100;
const LARGEST_LIMIT = 1000;

/**
 * One DynamoDB table whose items carry a whole record in one attribute, beside the attributes that are searched by.
 *
 * The record is JSON text; large ones are compressed, because an item may hold 400 KB and a long mix of music finds
 * much.
 */
export class RecordTable<T> {
  readonly name: string;
  readonly client: DynamoDBDocumentClient;
  readonly #schema: z.ZodType<T>;

  constructor(client: DynamoDBDocumentClient, name: string, schema: z.ZodType<T>) {
    this.client = client;
    this.name = name;
    this.#schema = schema;
  }

  encode(record: T): string | Uint8Array {
    const json = JSON.stringify(record);
    return Buffer.byteLength(json) <= PLAIN_BYTES ? json : gzipSync(json);
  }

  /** @throws RefrainError (DAMAGED_RECORD), naming the item */
  decode(item: Item): T {
    const what = `the item ${item['pk']} of the table ${this.name}`;
    try {
      const record = item['record'];
      const json = record instanceof Uint8Array ? gunzipSync(record).toString() : String(record);
      return this.#schema.parse(JSON.parse(json));
    } catch (cause) {
      const why = cause instanceof z.ZodError ? z.prettifyError(cause) : (cause as Error).message;
      throw new RefrainError('DAMAGED_RECORD', `${what} is damaged: ${why}`, { cause });
    }
  }

  /** Strongly consistent. */
  async get(key: Key): Promise<T | undefined> {
    const { Item: item } = await this.client.send(
      new GetCommand({ TableName: this.name, Key: key, ConsistentRead: true }),
    );
    return item && this.decode(item);
  }

  /** The items that exist, in the order of the keys. Strongly consistent. */
  async getItems(keys: readonly Key[]): Promise<Item[]> {
    const found = new Map<string, Item>();
    for (let start = 0; start < keys.length; start += BATCH_GET_KEYS) {
      let wanted: Key[] = keys.slice(start, start + BATCH_GET_KEYS);
      // DynamoDB answers what fits into 16 MB, or into the capacity that is left, and names the rest.
      await withRetries(
        async () => {
          const { Responses, UnprocessedKeys } = await this.client.send(
            new BatchGetCommand({ RequestItems: { [this.name]: { Keys: wanted, ConsistentRead: true } } }),
          );
          for (const item of Responses?.[this.name] ?? []) found.set(String(item['pk']), item);
          wanted = (UnprocessedKeys?.[this.name]?.Keys ?? []) as Key[];
          if (wanted.length > 0) throw new Unprocessed();
        },
        (error) => error instanceof Unprocessed,
      );
    }
    return keys.flatMap(({ pk }): Item[] => (found.has(pk!) ? [found.get(pk!)!] : []));
  }

  /**
   * One page of a list index. Its keys are eventually consistent; the records are read afresh, and those that no
   * longer belong to the list are left out, so that a page can be shorter than asked for while `next` says that there
   * is more.
   */
  async list(
    index: { name: string; hash: string; value: string; keyNames: readonly string[]; newestFirst?: boolean },
    { limit, after }: PageRequest = {},
  ): Promise<Page<T>> {
    const size = Math.min(Math.max(1, Math.floor(limit ?? DEFAULT_LIMIT)), LARGEST_LIMIT);
    const { Items, LastEvaluatedKey } = await this.client.send(
      new QueryCommand({
        TableName: this.name,
        IndexName: index.name,
        KeyConditionExpression: '#hash = :value',
        ExpressionAttributeNames: { '#hash': index.hash },
        ExpressionAttributeValues: { ':value': index.value },
        ScanIndexForward: !index.newestFirst,
        Limit: size,
        ...(after !== undefined && { ExclusiveStartKey: decodeCursor(after) }),
      }),
    );
    const keys = (Items ?? []).map(
      (item) => Object.fromEntries(index.keyNames.map((name) => [name, item[name]])) as Key,
    );

    const page: Page<T> = { items: [] };
    for (const item of await this.getItems(keys)) {
      if (item[index.hash] !== index.value) continue;
      try {
        page.items.push(this.decode(item));
      } catch (error) {
        const damaged = { id: String(item['pk']), message: (error as Error).message };
        page.damaged = [...(page.damaged ?? []), damaged];
      }
    }
    if (LastEvaluatedKey) page.next = encodeCursor(LastEvaluatedKey);
    return page;
  }
}

class Unprocessed extends Error {}

const encodeCursor = (key: Item): string => Buffer.from(JSON.stringify(key)).toString('base64url');

function decodeCursor(cursor: string): Item {
  try {
    return z.record(z.string(), z.string()).parse(JSON.parse(Buffer.from(cursor, 'base64url').toString()));
  } catch (cause) {
    throw new RefrainError(
      'BAD_CURSOR',
      `"${cursor}" is not the "next" of an earlier page; start again without "after"`,
      { cause },
    );
  }
}

/** Epoch milliseconds of an ISO time as text that sorts, oldest first. */
export const oldestFirst = (time: string): string => String(Date.parse(time)).padStart(15, '0');

/** The same, newest first, for lists whose second key ascends. */
export const newestFirst = (time: string): string =>
  String(999_999_999_999_999 - Date.parse(time)).padStart(15, '0');
