import { Policy } from '../../functions/core/policy.ts';
import { Reference } from '../../functions/core/reference.ts';
import type { Page, PageRequest, ReferenceStore } from '../../functions/ports/stores.ts';
import type { Database, Row } from '../store/database.ts';
import { listRecords, parseRecord } from '../store/records.ts';

/** References in SQLite, listed newest first. */
export class LocalReferenceStore implements ReferenceStore {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  async get(referenceId: string): Promise<Reference | undefined> {
    return this.#parse(this.#db.get('SELECT * FROM reference WHERE reference_id = ?', referenceId));
  }

  async getMany(referenceIds: readonly string[]): Promise<Map<string, Reference>> {
    // json_each takes any number of ids as one value.
    const rows = this.#db.all(
      'SELECT * FROM reference WHERE reference_id IN (SELECT value FROM json_each(?))',
      JSON.stringify(referenceIds),
    );
    return new Map(rows.map((row) => [String(row.reference_id), this.#parse(row)!]));
  }

  async findByContent(contentId: string): Promise<Reference | undefined> {
    return this.#parse(
      this.#db.get(
        'SELECT * FROM reference WHERE content_id = ? ORDER BY registered_ms, reference_id LIMIT 1',
        contentId,
      ),
    );
  }

  async put(reference: Reference): Promise<void> {
    this.#db.run(
      'INSERT OR REPLACE INTO reference (reference_id, content_id, registered_ms, record) VALUES (?, ?, ?, ?)',
      reference.referenceId,
      reference.contentId,
      Date.parse(reference.registeredAt),
      JSON.stringify(reference),
    );
  }

  async delete(referenceId: string): Promise<void> {
    this.#db.run('DELETE FROM reference WHERE reference_id = ?', referenceId);
  }

  async list(page?: PageRequest): Promise<Page<Reference>> {
    const order = [{ column: 'registered_ms', descending: true }, { column: 'reference_id' }];
    return listRecords(this.#db, { table: 'reference', id: 'reference_id', order, schema: Reference }, page);
  }

  /** Of no use to a function, which meets one model only: see `Engine.outdated`. */
  countActiveOfOtherModels(sha256: string): number {
    const row = this.#db.get(
      `SELECT count(*) AS n FROM reference
         WHERE json_extract(record, '$.state') = 'active' AND json_extract(record, '$.model.sha256') <> ?`,
      sha256,
    );
    return Number(row!.n);
  }

  async ownerPolicy(owner: string): Promise<Policy | undefined> {
    const row = this.#db.get('SELECT policy FROM owner_policy WHERE owner = ?', owner);
    return row && parseRecord(Policy, row.policy, { db: this.#db, table: 'owner_policy', id: owner });
  }

  async putOwnerPolicy(owner: string, policy: Policy): Promise<void> {
    this.#db.run(
      'INSERT OR REPLACE INTO owner_policy (owner, policy) VALUES (?, ?)',
      owner,
      JSON.stringify(policy),
    );
  }

  #parse(row: Row | undefined): Reference | undefined {
    const id = String(row?.reference_id);
    return row && parseRecord(Reference, row.record, { db: this.#db, table: 'reference', id });
  }
}
