import { mkdirSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { messageOf } from '../../functions/core/errors.ts';
import type { ModelManifest } from '../../functions/core/model.ts';
import type { Catalogue } from '../../functions/ports/catalogue.ts';
import type { Log } from '../../functions/ports/log.ts';
import { Database } from '../store/database.ts';
import { StoreError } from '../store/errors.ts';
import { checkSchema, migrate } from '../store/schema.ts';
import { announceHolder, describeHolder, forgetHolder, WriterLock } from '../store/writer-lock.ts';
import { LocalCaseStore } from './case-store.ts';
import { type CatalogueLimits, LocalCatalogue } from './catalogue.ts';
import { LocalEventBus } from './event-bus.ts';
import { LocalObjectStore } from './object-store.ts';
import { giveBackReceived, LocalQueue, type QueueOptions } from './queue.ts';
import { LocalReferenceStore } from './reference-store.ts';
import { LocalScanStore } from './scan-store.ts';

export interface StoreOptions {
  /** `write` creates the folder and keeps other writers out; `read` sees what is committed, while another may write. */
  mode: 'read' | 'write';
  /** Folders that stand for buckets, besides `files`, whose keys are absolute paths. */
  buckets?: Readonly<Record<string, string>>;
  /** When the catalogue builds and closes its index files; the defaults are measured. */
  limits?: Partial<CatalogueLimits>;
  /** Told of what was noticed and healed. */
  log?: Pick<Log, 'info' | 'warn'>;
}

/** All that Refrain remembers on one machine. */
export interface Store {
  readonly folder: string;
  readonly references: LocalReferenceStore;
  readonly scans: LocalScanStore;
  readonly cases: LocalCaseStore;
  readonly objects: LocalObjectStore;
  readonly events: LocalEventBus;
  /** The queue of this name; it exists as soon as something is sent. */
  queue(name: string, options?: QueueOptions): LocalQueue;
  /** The searchable segments of one model. */
  catalogue(model: Pick<ModelManifest, 'id' | 'dimension'>): Catalogue;
  /** Those of every model that something was registered with. */
  catalogues(): Catalogue[];
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

const SILENT: Pick<Log, 'info' | 'warn'> = { info() {}, warn() {} };

/**
 * Opens a store folder: `refrain.db` (SQLite) holds everything that matters, `index/` only what can be made again.
 *
 * What a call acknowledged survives `kill -9` and a power cut (WAL, fsync on every commit).
 *
 * @throws StoreError, see its codes
 */
export async function openStore(folder: string, options: StoreOptions): Promise<Store> {
  const { mode, buckets, limits = {}, log = SILENT } = options;
  const path = resolve(folder);
  const { db, lock } =
    mode === 'write' ? openForWriting(path, log) : { db: openForReading(path), lock: undefined };

  const scans = new LocalScanStore(db);
  const catalogues = new Map<string, LocalCatalogue>();
  let closed = false;
  const close = async () => {
    if (closed) return;
    closed = true;
    try {
      for (const catalogue of catalogues.values()) await catalogue.close();
      if (lock) forgetHolder(db);
    } catch (error) {
      // All that matters was written before. What fails here is made up for when the store is opened again.
      log.warn('the store could not be closed tidily', { folder: path, error: messageOf(error) });
    } finally {
      db.close();
      lock?.release();
    }
  };

  const catalogueOf = ({ id, dimension }: Pick<ModelManifest, 'id' | 'dimension'>): Catalogue => {
    let catalogue = catalogues.get(id);
    if (!catalogue) {
      catalogue = new LocalCatalogue(db, join(path, 'index', id), { id, dimension }, { mode, log, limits });
      catalogues.set(id, catalogue);
    }
    return catalogue;
  };

  return {
    folder: path,
    references: new LocalReferenceStore(db),
    scans,
    cases: new LocalCaseStore(db),
    objects: new LocalObjectStore(buckets),
    events: new LocalEventBus(db),
    queue: (name, queueOptions) => new LocalQueue(db, name, queueOptions),
    catalogue: catalogueOf,
    catalogues: () =>
      db
        .all('SELECT model_id, dimension FROM catalogue ORDER BY model_id')
        .map((row) => catalogueOf({ id: String(row.model_id), dimension: Number(row.dimension) })),
    close,
    [Symbol.asyncDispose]: close,
  };
}

function openForWriting(folder: string, log: Pick<Log, 'info'>): { db: Database; lock: WriterLock } {
  makeFolder(folder);
  const lock = WriterLock.take(folder);
  if (!lock) throw heldByAnother(folder);
  let db: Database | undefined;
  try {
    db = new Database(join(folder, 'refrain.db'));
    const state = checkSchema(db);
    db.exec(`
      PRAGMA journal_mode = WAL;
      PRAGMA synchronous = FULL;    -- a commit is on the disk when it returns
      PRAGMA secure_delete = ON;    -- what is erased is overwritten
      PRAGMA journal_size_limit = 67108864;`);
    if (state !== 'current') migrate(db);
    takeOver(db, log);
    return { db, lock };
  } catch (error) {
    db?.close();
    lock.release();
    throw error;
  }
}

/** Whatever an earlier process had in hand is nobody's now. */
function takeOver(db: Database, log: Pick<Log, 'info'>): void {
  const { previousWasKilled } = announceHolder(db);
  if (previousWasKilled) {
    log.info('the writer before was interrupted; going on from what it stored', { store: db.path });
  }
  giveBackReceived(db, { killed: previousWasKilled });
  new LocalScanStore(db).releaseAll();
}

function openForReading(folder: string): Database {
  const path = join(folder, 'refrain.db');
  const stats = statSync(path, { throwIfNoEntry: false });
  if (!stats) {
    throw new StoreError('STORE_NOT_FOUND', `There is no store at ${folder}; "refrain register" makes one`);
  }
  const db = new Database(path, { readOnly: true });
  try {
    const state = checkSchema(db);
    if (state === 'current') return db;
    throw new StoreError(
      state === 'empty' ? 'STORE_NOT_FOUND' : 'STORE_TOO_OLD',
      state === 'empty'
        ? `The store at ${folder} is empty; "refrain register" fills it`
        : `The store at ${folder} was written by an older version; open it once for writing to bring it up to date`,
    );
  } catch (error) {
    db.close();
    throw error;
  }
}

/** Level by level: Node's own recursive way never comes back where a parent lets nothing be made in it, as /proc does. */
function makeWithParents(folder: string): void {
  if (isFolder(folder)) return;
  const parent = dirname(folder);
  if (parent !== folder) makeWithParents(parent);
  try {
    mkdirSync(folder);
  } catch (error) {
    if (!isFolder(folder)) throw error; // otherwise another process was faster
  }
}

const isFolder = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;

function makeFolder(folder: string): void {
  try {
    makeWithParents(resolve(folder));
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'EEXIST' || code === 'ENOTDIR') {
      throw new StoreError(
        'STORE_NOT_A_FOLDER',
        `${folder} cannot be a store: a file is in the way; name a folder`,
        {
          cause: error,
        },
      );
    }
    if (code === 'ENOSPC') {
      throw new StoreError('STORE_FULL', `The disk is full: ${folder} could not be made; free some space`, {
        cause: error,
      });
    }
    throw new StoreError(
      'STORE_NOT_WRITABLE',
      `${folder} cannot be made (${code}); choose a folder you may write to`,
      {
        cause: error,
      },
    );
  }
}

function heldByAnother(folder: string): StoreError {
  let holder = 'another process';
  try {
    const db = openForReading(folder);
    holder = describeHolder(db);
    db.close();
  } catch {
    // It is being created this very moment; the lock alone says enough.
  }
  return new StoreError(
    'STORE_BUSY',
    `${folder} is being written by ${holder}; wait until it ends, or use another store`,
  );
}
