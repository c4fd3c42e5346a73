import { Case } from '../../functions/core/case.ts';
import { ConflictError } from '../../functions/core/errors.ts';
import type { CaseStore, Page, PageRequest } from '../../functions/ports/stores.ts';
import type { Database } from '../store/database.ts';
import { listRecords, parseRecord } from '../store/records.ts';

/** Cases in SQLite. */
export class LocalCaseStore implements CaseStore {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  async get(caseId: string): Promise<Case | undefined> {
    const row = this.#db.get('SELECT record FROM review_case WHERE case_id = ?', caseId);
    return row && parseRecord(Case, row.record, { db: this.#db, table: 'review_case', id: caseId });
  }

  async create(item: Case): Promise<boolean> {
    const created = this.#db.run(
      `INSERT INTO review_case (state, priority, opened_ms, version, record, case_id) VALUES (?, ?, ?, ?, ?, ?)
       ON CONFLICT (case_id) DO NOTHING`,
      ...columns(item),
      item.caseId,
    );
    return created === 1;
  }

  async update(item: Case): Promise<void> {
    const updated = this.#db.run(
      `UPDATE review_case SET state = ?, priority = ?, opened_ms = ?, version = ?, record = ?
       WHERE case_id = ? AND version = ?`,
      ...columns(item),
      item.caseId,
      item.version - 1,
    );
    if (updated === 1) return;
    const stored = this.#db.get('SELECT version FROM review_case WHERE case_id = ?', item.caseId);
    throw new ConflictError(
      stored
        ? `Case ${item.caseId} is at version ${stored.version}, not ${item.version - 1}: read it again and decide anew`
        : `Case ${item.caseId} does not exist, so it cannot be updated`,
    );
  }

  async list({ state, ...page }: PageRequest & { state?: Case['state'] } = {}): Promise<Page<Case>> {
    const order = [{ column: 'priority', descending: true }, { column: 'opened_ms' }, { column: 'case_id' }];
    const where = state && { where: { sql: 'state = ?', value: state } };
    return listRecords(
      this.#db,
      { table: 'review_case', id: 'case_id', order, ...where, schema: Case },
      page,
    );
  }
}

const columns = (item: Case) => [
  item.state,
  item.priority,
  Date.parse(item.openedAt),
  item.version,
  JSON.stringify(item),
];
