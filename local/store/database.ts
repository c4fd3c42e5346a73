import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';
import { RefrainError } from '../../functions/core/errors.ts';
import { StoreError } from './errors.ts';

export type Row = Record<string, unknown>;

/** SQLite's primary result codes that have something to say to a person. */
const SQLITE = {
  BUSY: 5,
  LOCKED: 6,
  READONLY: 8,
  IOERR: 10,
  CORRUPT: 11,
  FULL: 13,
  CANTOPEN: 14,
  NOTADB: 26,
};

/** A SQLite file whose faults come out as StoreErrors, and whose statements are prepared once. */
export class Database {
  readonly path: string;
  readonly #readOnly: boolean;
  readonly #sqlite: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();

  /** @param busyMs how long to wait for a lock before giving up */
  constructor(path: string, { readOnly = false, busyMs = 5000 } = {}) {
    this.path = path;
    this.#readOnly = readOnly;
    this.#sqlite = this.#translating(() => new DatabaseSync(path, { readOnly, timeout: busyMs }));
  }

  exec(sql: string): void {
    this.#translating(() => this.#sqlite.exec(sql));
  }

  /** Returns how many rows were changed. */
  run(sql: string, ...values: SQLInputValue[]): number {
    return this.#translating(() => Number(this.#prepare(sql).run(...values).changes));
  }

  get(sql: string, ...values: SQLInputValue[]): Row | undefined {
    return this.#translating(() => this.#prepare(sql).get(...values) as Row | undefined);
  }

  all(sql: string, ...values: SQLInputValue[]): Row[] {
    return this.#translating(() => this.#prepare(sql).all(...values) as Row[]);
  }

  /** All of `work` or nothing of it. `work` is synchronous, so nothing else of this process gets in between. */
  transaction<T>(work: () => T): T {
    this.exec('BEGIN IMMEDIATE');
    try {
      const result = work();
      this.exec('COMMIT');
      return result;
    } catch (error) {
      // SQLite has already rolled back by itself when the disk was full.
      if (this.#sqlite.isTransaction) this.exec('ROLLBACK');
      throw error;
    }
  }

  /** Several reads of one and the same state, whatever another process commits meanwhile. */
  snapshot<T>(work: () => T): T {
    this.exec('BEGIN');
    try {
      return work();
    } finally {
      this.exec('COMMIT');
    }
  }

  close(): void {
    this.#statements.clear();
    this.#sqlite.close();
  }

  #prepare(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (!statement) {
      statement = this.#sqlite.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  #translating<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw this.#translate(error);
    }
  }

  #translate(error: unknown): unknown {
    if (error instanceof RefrainError || !(error instanceof Error) || !('code' in error)) return error;
    const options = { cause: error };
    if (error.code === 'ERR_INVALID_STATE') {
      return new StoreError('STORE_CLOSED', `${this.path} was closed already; open the store anew`, options);
    }
    if (!('errcode' in error)) return error;
    // The lower byte is the primary code; the rest of it tells the circumstances.
    switch (Number(error.errcode) & 0xff) {
      case SQLITE.FULL:
        return new StoreError(
          'STORE_FULL',
          `The disk is full: ${this.path} could not be written. What was acknowledged is safe; free some space and try again`,
          options,
        );
      case SQLITE.BUSY:
      case SQLITE.LOCKED:
        return new StoreError(
          'STORE_BUSY',
          `${this.path} is in use by another process; try again later`,
          options,
        );
      case SQLITE.READONLY:
        return this.#readOnly
          ? new StoreError(
              'STORE_READ_ONLY',
              `${this.path} was opened for reading; open the store for writing`,
              options,
            )
          : new StoreError(
              'STORE_NOT_WRITABLE',
              `${this.path} may not be written by this user: ${error.message}`,
              options,
            );
      case SQLITE.CANTOPEN:
        return new StoreError(
          'STORE_UNREADABLE',
          `${this.path} cannot be opened: check the permissions of the folder and its files (readers need to write, too)`,
          options,
        );
      case SQLITE.CORRUPT:
      case SQLITE.NOTADB:
        return new StoreError(
          'STORE_DAMAGED',
          `${this.path} is damaged (${error.message}); restore it from a backup, or register into a new store`,
          options,
        );
      case SQLITE.IOERR:
        return new StoreError(
          'STORE_IO',
          `Reading or writing ${this.path} failed: ${error.message}`,
          options,
        );
      default:
        return error;
    }
  }
}
