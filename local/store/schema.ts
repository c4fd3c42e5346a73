import type { Database } from './database.ts';
import { StoreError } from './errors.ts';

/** `RFRN`: tells our file from any other SQLite file. */
const APPLICATION_ID = 0x5246524e;

/**
 * Each entry brings the store from one version to the next; entries that were released never change.
 *
 * Records are kept as JSON beside the columns that are searched by. Times are epoch milliseconds, so that they sort.
 */
const MIGRATIONS: readonly string[] = [
  `
  -- The process that writes. It leaves the row behind only when it is killed.
  CREATE TABLE holder (one INTEGER PRIMARY KEY CHECK (one = 1), pid INTEGER NOT NULL, host TEXT NOT NULL,
    command TEXT NOT NULL, since TEXT NOT NULL);

  CREATE TABLE reference (reference_id TEXT PRIMARY KEY, content_id TEXT NOT NULL, registered_ms INTEGER NOT NULL,
    record TEXT NOT NULL);
  CREATE INDEX reference_by_content ON reference (content_id, registered_ms);
  CREATE TABLE owner_policy (owner TEXT PRIMARY KEY, policy TEXT NOT NULL) WITHOUT ROWID;

  CREATE TABLE scan (scan_id TEXT PRIMARY KEY, verdict TEXT, started_ms INTEGER NOT NULL, record TEXT NOT NULL,
    claimed_by TEXT, claimed_until_ms INTEGER);
  CREATE INDEX scan_by_time ON scan (started_ms, scan_id);
  CREATE INDEX scan_by_verdict ON scan (verdict, started_ms, scan_id);
  CREATE TABLE scan_window (scan_id TEXT NOT NULL, window INTEGER NOT NULL, data BLOB NOT NULL,
    UNIQUE (scan_id, window));

  CREATE TABLE review_case (case_id TEXT PRIMARY KEY, state TEXT NOT NULL, priority INTEGER NOT NULL,
    opened_ms INTEGER NOT NULL, version INTEGER NOT NULL, record TEXT NOT NULL);
  CREATE INDEX case_by_priority ON review_case (priority DESC, opened_ms, case_id);
  CREATE INDEX case_by_state ON review_case (state, priority DESC, opened_ms, case_id);

  CREATE TABLE message (sequence INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL, message_id TEXT NOT NULL,
    body TEXT NOT NULL, sent_ms INTEGER NOT NULL, visible_ms INTEGER NOT NULL, receipt TEXT,
    receives INTEGER NOT NULL DEFAULT 0, first_received_ms INTEGER);
  CREATE INDEX message_by_time ON message (queue, visible_ms, sequence);
  CREATE UNIQUE INDEX message_by_receipt ON message (receipt) WHERE receipt IS NOT NULL;

  CREATE TABLE event (sequence INTEGER PRIMARY KEY AUTOINCREMENT, source TEXT NOT NULL, id TEXT NOT NULL,
    record TEXT NOT NULL, UNIQUE (source, id));

  CREATE TABLE catalogue (model_id TEXT PRIMARY KEY, dimension INTEGER NOT NULL, next_row INTEGER NOT NULL,
    generation INTEGER NOT NULL) WITHOUT ROWID;
  -- Rows are numbered once and for all per model: row r is the r-th segment ever added. A block holds consecutive
  -- rows of one reference; "runs" lists their segments as (first, length) pairs.
  CREATE TABLE block (block_id INTEGER PRIMARY KEY, model_id TEXT NOT NULL, reference_id TEXT NOT NULL,
    first_row INTEGER NOT NULL, rows INTEGER NOT NULL, runs BLOB NOT NULL, crc INTEGER NOT NULL, vectors BLOB NOT NULL);
  CREATE UNIQUE INDEX block_by_row ON block (model_id, first_row);
  CREATE INDEX block_by_reference ON block (model_id, reference_id, first_row);
  -- The files under index/: which rows each spans, and what it must contain to be trusted.
  CREATE TABLE shard (model_id TEXT NOT NULL, first_row INTEGER NOT NULL, end_row INTEGER NOT NULL, file TEXT NOT NULL,
    sha256 TEXT NOT NULL, PRIMARY KEY (model_id, first_row)) WITHOUT ROWID;
  `,
];

/** @throws StoreError when the file is newer than this program, or not ours */
export function checkSchema(db: Database): 'empty' | 'older' | 'current' {
  const version = Number(db.get('PRAGMA user_version')!.user_version);
  const application = Number(db.get('PRAGMA application_id')!.application_id);
  const tables = Number(db.get('SELECT count(*) AS n FROM sqlite_schema')!.n);
  if (tables === 0) return 'empty';
  if (application !== APPLICATION_ID) {
    throw new StoreError(
      'STORE_DAMAGED',
      `${db.path} is a SQLite file of some other program; choose another folder`,
    );
  }
  if (version > MIGRATIONS.length) {
    throw new StoreError(
      'STORE_TOO_NEW',
      `${db.path} was written by a newer version of Refrain (its format is ${version}, this version knows ` +
        `${MIGRATIONS.length}); upgrade Refrain, or use another store`,
    );
  }
  return version < MIGRATIONS.length ? 'older' : 'current';
}

/** Brings an empty or older store to the current format, all or nothing. */
export function migrate(db: Database): void {
  db.transaction(() => {
    const version = Number(db.get('PRAGMA user_version')!.user_version);
    for (const sql of MIGRATIONS.slice(version)) db.exec(sql);
    db.exec(`PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${MIGRATIONS.length}`);
  });
}
