import { z } from 'zod';
import type { CloudEvent, EventBus } from '../../functions/ports/events.ts';
import type { Page, PageRequest } from '../../functions/ports/stores.ts';
import type { Database } from '../store/database.ts';
import { listRecords } from '../store/records.ts';

const StoredEvent: z.ZodType<CloudEvent> = z.looseObject({
  specversion: z.literal('1.0'),
  id: z.string(),
  source: z.string(),
  type: z.string(),
  subject: z.string().exactOptional(),
  time: z.string(),
  datacontenttype: z.literal('application/json'),
  data: z.unknown(),
});

/** Events as a list that can be read from any point. An event that is published again is kept once. */
export class LocalEventBus implements EventBus {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  async publish(event: CloudEvent): Promise<void> {
    this.#db.run(
      'INSERT INTO event (source, id, record) VALUES (?, ?, ?) ON CONFLICT (source, id) DO NOTHING',
      event.source,
      event.id,
      JSON.stringify(event),
    );
  }

  /** In the order of publication. */
  async list(page?: PageRequest): Promise<Page<CloudEvent>> {
    const order = [{ column: 'sequence' }];
    return listRecords(this.#db, { table: 'event', id: 'sequence', order, schema: StoredEvent }, page);
  }
}
