import { ScanRecord } from '../../functions/core/scan.ts';
import type { Page, PageRequest, ScanStore } from '../../functions/ports/stores.ts';
import type { Database } from '../store/database.ts';
import { listRecords, parseRecord } from '../store/records.ts';

/** Scans, their claims and their windows in SQLite; listed newest first. */
export class LocalScanStore implements ScanStore {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  async get(scanId: string): Promise<ScanRecord | undefined> {
    return this.#read(scanId);
  }

  async claim(
    initial: ScanRecord,
    worker: string,
    nowMs: number,
    untilMs: number,
  ): Promise<ScanRecord | undefined> {
    const { scanId } = initial;
    return this.#db.transaction(() => {
      const scan = this.#read(scanId) ?? this.#write(initial);
      if (scan.state === 'done') return scan;
      const taken = this.#db.run(
        `UPDATE scan SET claimed_by = ?, claimed_until_ms = ?
         WHERE scan_id = ? AND (claimed_by IS NULL OR claimed_by = ? OR claimed_until_ms <= ?)`,
        worker,
        untilMs,
        scanId,
        worker,
        nowMs,
      );
      return taken ? scan : undefined;
    });
  }

  async release(scanId: string, worker: string): Promise<void> {
    this.#db.run('UPDATE scan SET claimed_by = NULL WHERE scan_id = ? AND claimed_by = ?', scanId, worker);
  }

  /**
   * Frees every scan that a dead process had taken. For the one writer of a store, when it starts: whoever else held
   * a claim is gone.
   */
  releaseAll(): void {
    this.#db.run('UPDATE scan SET claimed_by = NULL WHERE claimed_by IS NOT NULL');
  }

  async put(record: ScanRecord): Promise<void> {
    this.#write(record);
    if (record.announced) this.#db.run('UPDATE scan SET claimed_by = NULL WHERE scan_id = ?', record.scanId);
  }

  async list({
    verdict,
    ...page
  }: PageRequest & { verdict?: ScanRecord['verdict'] } = {}): Promise<Page<ScanRecord>> {
    const order = [
      { column: 'started_ms', descending: true },
      { column: 'scan_id', descending: true },
    ];
    const where = verdict && { where: { sql: 'verdict = ?', value: verdict } };
    return listRecords(this.#db, { table: 'scan', id: 'scan_id', order, ...where, schema: ScanRecord }, page);
  }

  async putWindow(scanId: string, window: number, data: Uint8Array): Promise<void> {
    this.#db.run(
      'INSERT OR REPLACE INTO scan_window (scan_id, window, data) VALUES (?, ?, ?)',
      scanId,
      window,
      data,
    );
  }

  async *windows(scanId: string): AsyncIterable<{ window: number; data: Uint8Array }> {
    // One row at a time, so that a scan of many hours is never in memory twice, and windows may be written meanwhile.
    for (let last = -1; ; ) {
      const row = this.#db.get(
        'SELECT window, data FROM scan_window WHERE scan_id = ? AND window > ? ORDER BY window LIMIT 1',
        scanId,
        last,
      );
      if (!row) return;
      last = Number(row.window);
      yield { window: last, data: row.data as Uint8Array };
    }
  }

  async deleteWindows(scanId: string): Promise<void> {
    this.#db.run('DELETE FROM scan_window WHERE scan_id = ?', scanId);
  }

  #read(scanId: string): ScanRecord | undefined {
    const row = this.#db.get('SELECT record FROM scan WHERE scan_id = ?', scanId);
    return row && parseRecord(ScanRecord, row.record, { db: this.#db, table: 'scan', id: scanId });
  }

  #write(record: ScanRecord): ScanRecord {
    this.#db.run(
      `INSERT INTO scan (scan_id, verdict, started_ms, record) VALUES (?, ?, ?, ?)
       ON CONFLICT (scan_id) DO UPDATE SET verdict = excluded.verdict, started_ms = excluded.started_ms,
         record = excluded.record`,
      record.scanId,
      record.verdict ?? null,
      Date.parse(record.startedAt),
      JSON.stringify(record),
    );
    return record;
  }
}
