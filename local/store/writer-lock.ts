import { hostname } from 'node:os';
import { join } from 'node:path';
import { Database } from './database.ts';
import { StoreError } from './errors.ts';

/**
 * Keeps every other writer out for as long as this process lives.
 *
 * The lock is an open write transaction on a SQLite file of its own: the operating system drops it with the process,
 * however that ends, so there is no stale lock to clean up. Readers never touch the file.
 */
export class WriterLock {
  readonly #db: Database;

  private constructor(db: Database) {
    this.#db = db;
  }

  /** @returns `undefined` when another writer holds the lock */
  static take(folder: string): WriterLock | undefined {
    const db = new Database(join(folder, 'writer.lock'), { busyMs: 0 });
    try {
      db.exec('BEGIN EXCLUSIVE');
      return new WriterLock(db);
    } catch (error) {
      db.close();
      if (error instanceof StoreError && error.code === 'STORE_BUSY') return undefined;
      throw error;
    }
  }

  release(): void {
    this.#db.close();
  }
}

/** Writes down who holds the store; resolves to whether the writer before was killed. */
export function announceHolder(db: Database): { previousWasKilled: boolean } {
  return db.transaction(() => {
    const previousWasKilled = db.get('SELECT pid FROM holder') !== undefined;
    db.run(
      'INSERT OR REPLACE INTO holder (one, pid, host, command, since) VALUES (1, ?, ?, ?, ?)',
      process.pid,
      hostname(),
      process.argv.slice(1).join(' ').slice(0, 500),
      new Date().toISOString(),
    );
    return { previousWasKilled };
  });
}

export function forgetHolder(db: Database): void {
  db.run('DELETE FROM holder');
}

/** Names the process that holds the store, as far as it is known. */
export function describeHolder(db: Database): string {
  const row = db.get('SELECT * FROM holder');
  if (!row) return 'another process';
  return `process ${row.pid} on ${row.host} (${row.command}), since ${row.since}`;
}
