import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '@opensearch-project/opensearch';
import type { SegmentVectors } from '../../ports/catalogue.ts';
import { CARDINALITY_OF_REFERENCES } from './opensearch-catalogue.ts';
import { CatalogueError } from './opensearch-errors.ts';
import { OpenSearchIndex, type OpenSearchIndexSettings } from './opensearch-index.ts';

export interface ServerlessCatalogueSettings extends OpenSearchIndexSettings {
  /** The model whose segments the index holds. */
  modelId: string;
  /** How often to look whether what was written can be found, ms. */
  pollMs?: number;
  /** How long to look, ms: Serverless takes up to a minute, and a function that registers has fifteen. */
  patienceMs?: number;
}

const DOCUMENTS_PER_PAGE = 1000;

/**
 * The catalogue of one model in a vector collection of OpenSearch Serverless: the index `refrain-MODEL`.
 *
 * Serverless gives documents its own ids, and can be told neither to make them searchable now nor to delete by a query. So:
 *
 * - A write appends its segments, waits until all of them can be found, and then sweeps up: of each segment, the document
 *   that was written last stays. Whatever an earlier run left half done, and whatever a retry wrote twice, goes this way.
 * - A removal finds the ids of documents and deletes those, until none is found.
 * - The generation is a number that documents carry: those of segments, and one without a segment for each removal.
 */
export class ServerlessCatalogue extends OpenSearchIndex {
  readonly #pollMs: number;
  readonly #patienceMs: number;

  protected override readonly amongEquals = [{ written: { order: 'desc' as const } }];

  constructor(client: Client, settings: ServerlessCatalogueSettings) {
    super(client, `refrain-${settings.modelId}`, settings);
    this.#pollMs = settings.pollMs ?? 5000;
    this.#patienceMs = settings.patienceMs ?? 300_000;
  }

  async exists(): Promise<boolean> {
    return (await this.call(() => this.client.indices.exists({ index: this.name }))).body;
  }

  async ensureIndex(): Promise<void> {
    if (await this.exists()) return;
    const { settings, properties } = this.definition();
    const body = {
      settings: { index: settings },
      mappings: {
        dynamic: 'strict' as const,
        properties: { ...properties, written: { type: 'long' as const } },
      },
    };
    try {
      await this.call(() => this.client.indices.create({ index: this.name, body }));
    } catch (error) {
      // Somebody else was faster.
      if (!(error instanceof CatalogueError && error.type === 'resource_already_exists_exception'))
        throw error;
    }
  }

  async add(referenceId: string, segments: SegmentVectors): Promise<void> {
    const written = await this.#nextGeneration();
    const items = this.documentsOf(referenceId, segments).map((document) => ({
      action: '{"index":{}}',
      source: `${document},"written":${written}}`,
    }));
    if (items.length === 0) return;
    await this.bulk(items);
    await this.#eventually(`the segments of ${referenceId}`, async () => {
      const documents = await this.#documentsOf(referenceId);
      const arrived = new Set(documents.filter((d) => d.written === written).map(({ segment }) => segment));
      if (!segments.segments.every((segment) => arrived.has(segment))) return false;
      const superseded = supersededAmong(documents);
      await this.#delete(superseded);
      return superseded.length === 0;
    });
  }

  async remove(referenceId: string): Promise<number> {
    const removed = new Set<number>();
    await this.#eventually(`the removal of ${referenceId}`, async () => {
      const documents = await this.#documentsOf(referenceId);
      for (const { segment } of documents) removed.add(segment);
      await this.#delete(documents);
      return documents.length === 0;
    });
    if (removed.size > 0) await this.#markRemoval();
    return removed.size;
  }

  async stats(): Promise<{ segments: number; references: number; generation: number }> {
    const { body } = await this.call(() =>
      this.client.search({
        index: this.name,
        allow_partial_search_results: false,
        body: {
          size: 0,
          track_total_hits: false,
          aggregations: {
            generation: { max: { field: 'written' } },
            segments: {
              filter: { exists: { field: 'segment' } },
              aggregations: { references: { cardinality: CARDINALITY_OF_REFERENCES } },
            },
          } as never,
        },
      }),
    );
    const { generation, segments } = body.aggregations as unknown as Counted;
    return {
      segments: segments.doc_count,
      references: segments.references.value,
      generation: generation.value ?? 0,
    };
  }

  /** Above everything so far, also where clocks differ; and not what another function takes in the same millisecond. */
  async #nextGeneration(): Promise<number> {
    const { generation } = await this.stats();
    return Math.max(generation + 1, Date.now() * 1000 + Math.floor(Math.random() * 1000));
  }

  /** A removal leaves nothing behind that would count, so it leaves a mark. */
  async #markRemoval(): Promise<void> {
    const written = await this.#nextGeneration();
    await this.bulk([{ action: '{"index":{}}', source: `{"written":${written}}` }]);
    await this.#eventually('the mark of a removal', async () => (await this.stats()).generation >= written);
  }

  /** Every document of a reference that can be found now. */
  async #documentsOf(referenceId: string): Promise<Document[]> {
    const found = new Map<string, Document>();
    for (let from = 0; ; ) {
      const { body } = await this.call(() =>
        this.client.search({
          index: this.name,
          allow_partial_search_results: false,
          body: {
            size: DOCUMENTS_PER_PAGE,
            track_total_hits: false,
            _source: false,
            docvalue_fields: ['segment', 'written'],
            sort: [{ segment: { order: 'asc' } }, ...this.amongEquals],
            query: {
              bool: { filter: [{ term: { reference: referenceId } }, { range: { segment: { gte: from } } }] },
            },
          },
        }),
      );
      const before = found.size;
      for (const { _id, fields } of body.hits.hits as unknown as Found[]) {
        found.set(_id, { id: _id, segment: fields.segment[0], written: fields.written[0] });
        // A page may end amid the documents of a segment, so the next one begins with that segment again.
        from = fields.segment[0];
      }
      if (body.hits.hits.length < DOCUMENTS_PER_PAGE || found.size === before) return [...found.values()];
    }
  }

  async #delete(documents: readonly Document[]): Promise<void> {
    await this.bulk(documents.map(({ id }) => ({ action: JSON.stringify({ delete: { _id: id } }) })));
  }

  /** @throws CatalogueError when it does not happen in time; whoever asked is delivered again, and goes on from there */
  async #eventually(what: string, isDone: () => Promise<boolean>): Promise<void> {
    const deadline = performance.now() + this.#patienceMs;
    while (!(await isDone())) {
      if (performance.now() > deadline) {
        throw new CatalogueError(`${what} cannot be seen after ${this.#patienceMs / 1000} s`);
      }
      await sleep(this.#pollMs);
    }
  }
}

interface Document {
  id: string;
  segment: number;
  written: number;
}

/** All documents of a segment but the one that was written last. */
function supersededAmong(documents: readonly Document[]): Document[] {
  const last = new Map<number, Document>();
  for (const document of documents) {
    const other = last.get(document.segment);
    if (!other || document.written > other.written) last.set(document.segment, document);
  }
  return documents.filter((document) => last.get(document.segment) !== document);
}

interface Found {
  _id: string;
  fields: { segment: [number]; written: [number] };
}

interface Counted {
  generation: { value: number | null };
  segments: { doc_count: number; references: { value: number } };
}
