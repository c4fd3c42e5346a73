import type { z } from 'zod';
import type { Page, PageRequest } from '../../functions/ports/stores.ts';
import type { Database } from './database.ts';
import { StoreError } from './errors.ts';

const DEFAULT_LIMIT = 100;
const LARGEST_LIMIT = 1000;

/** @throws StoreError DAMAGED_RECORD, naming the row */
export function parseRecord<T>(
  schema: z.ZodType<T>,
  json: unknown,
  where: { db: Database; table: string; id: string },
): T {
  const what = `${where.table} "${where.id}" in ${where.db.path}`;
  let value: unknown;
  try {
    value = JSON.parse(String(json));
  } catch (error) {
    throw new StoreError('DAMAGED_RECORD', `The record of ${what} is damaged: it is not JSON`, {
      cause: error,
    });
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const faults = parsed.error.issues.map((issue) => `${issue.path.join('.') || 'record'}: ${issue.message}`);
  throw new StoreError('DAMAGED_RECORD', `The record of ${what} is damaged: ${faults.join('; ')}`, {
    cause: parsed.error,
  });
}

/** How one kind of record is listed: its columns in the order of the list. */
export interface Listing<T> {
  table: string;
  id: string;
  /** Columns that define the order; together they are unique. */
  order: readonly { column: string; descending?: boolean }[];
  where?: { sql: string; value: string };
  schema: z.ZodType<T>;
}

/** One page in the order of `listing`, after the keys that the cursor holds. A damaged row costs itself only. */
export function listRecords<T>(
  db: Database,
  listing: Listing<T>,
  { limit, after }: PageRequest = {},
): Page<T> {
  const { table, id, order, where, schema } = listing;
  const size = Math.min(Math.max(1, Math.floor(limit ?? DEFAULT_LIMIT)), LARGEST_LIMIT);
  const cursor = after === undefined ? undefined : decodeCursor(after, order.length);

  const conditions = [...(where ? [where.sql] : []), ...(cursor ? [`(${afterKeys(order)})`] : [])];
  const rows = db.all(
    `SELECT * FROM ${table} ${conditions.length ? `WHERE ${conditions.join(' AND ')}` : ''}
     ORDER BY ${order.map(({ column, descending }) => `${column}${descending ? ' DESC' : ''}`).join(', ')}
     LIMIT ?`,
    ...(where ? [where.value] : []),
    ...(cursor ? afterValues(cursor) : []),
    size + 1,
  );

  const items: T[] = [];
  const damaged: { id: string; message: string }[] = [];
  for (const row of rows.slice(0, size)) {
    try {
      items.push(parseRecord(schema, row.record, { db, table, id: String(row[id]) }));
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      damaged.push({ id: String(row[id]), message: error.message });
    }
  }
  const last = rows.length > size ? rows[size - 1]! : undefined;
  return {
    items,
    ...(last && { next: encodeCursor(order.map(({ column }) => last[column])) }),
    ...(damaged.length > 0 && { damaged }),
  };
}

/** `(a < ?) OR (a = ? AND b > ?) OR ...`: SQLite's row values cannot mix directions. */
function afterKeys(order: Listing<unknown>['order']): string {
  return order
    .map(({ column, descending }, i) => {
      const equal = order.slice(0, i).map((key) => `${key.column} = ?`);
      return `(${[...equal, `${column} ${descending ? '<' : '>'} ?`].join(' AND ')})`;
    })
    .join(' OR ');
}

const afterValues = (cursor: readonly (string | number)[]) =>
  cursor.flatMap((_, i) => cursor.slice(0, i + 1));

const encodeCursor = (keys: readonly unknown[]): string =>
  Buffer.from(JSON.stringify(keys)).toString('base64url');

function decodeCursor(cursor: string, length: number): (string | number)[] {
  try {
    const keys: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString());
    const isKey = (key: unknown) => typeof key === 'string' || typeof key === 'number';
    if (Array.isArray(keys) && keys.length === length && keys.every(isKey)) return keys;
  } catch {
    // Falls through: whatever it was, it is not one of our cursors.
  }
  throw new StoreError(
    'BAD_CURSOR',
    `"${cursor}" is not the "next" of an earlier page; start again without "after"`,
  );
}
