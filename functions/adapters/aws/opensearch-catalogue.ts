import { createHash } from 'node:crypto';
import type { Client } from '@opensearch-project/opensearch';
import type { SegmentVectors } from '../../ports/catalogue.ts';
import { CatalogueError } from './opensearch-errors.ts';
import { OpenSearchIndex, type OpenSearchIndexSettings } from './opensearch-index.ts';

export interface OpenSearchCatalogueSettings extends OpenSearchIndexSettings {
  /** The model whose segments the index holds. */
  modelId: string;
  /** Another name than the model's own, for an index that is not live yet. */
  alias?: string;
  shards?: number;
  replicas?: number;
  /** Whether a write resolves only when it can be found, which a reference that is called active must be. */
  waitUntilFound?: boolean;
}

/** Half a day of audio is some 170,000 deletions. */
const DELETE_TIMEOUT_MS = 120_000;
/** Exact up to the threshold, within some per cent above it. The client's types know none of its parameters. */
export const CARDINALITY_OF_REFERENCES = { field: 'reference', precision_threshold: 40_000 } as object;

/**
 * The catalogue of one model in OpenSearch: a k-NN index behind an alias.
 *
 * - Names: index `refrain-MODEL-000001`, alias `refrain-MODEL`. All reads and writes go to the alias, so a rebuilt
 *   index takes over in one step.
 * - Segments have deterministic ids: a repeated registration rewrites what is there.
 * - A write waits until it can be found (`refresh=wait_for`), where that is asked for: a reference that is called active is searchable. Waiting
 *   for the periodic refresh, rather than forcing one, keeps a flood of registrations from making a flood of tiny
 *   graphs.
 */
export class OpenSearchCatalogue extends OpenSearchIndex {
  readonly #shards: number;
  readonly #replicas: number;
  readonly #waitUntilFound: boolean;

  constructor(client: Client, settings: OpenSearchCatalogueSettings) {
    super(client, settings.alias ?? `refrain-${settings.modelId}`, settings);
    this.#shards = settings.shards ?? 1;
    this.#replicas = settings.replicas ?? 0;
    this.#waitUntilFound = settings.waitUntilFound ?? true;
  }

  get alias(): string {
    return this.name;
  }

  async exists(): Promise<boolean> {
    return (await this.call(() => this.client.indices.existsAlias({ name: this.alias }))).body;
  }

  /** Creates the index and its alias unless they exist. */
  async ensureIndex(): Promise<void> {
    if (await this.exists()) return;
    try {
      await this.createIndex(`${this.alias}-000001`);
    } catch (error) {
      // Somebody else was faster.
      if (!(error instanceof CatalogueError && error.type === 'resource_already_exists_exception'))
        throw error;
    }
  }

  /** Creates an index of this name behind the alias. */
  async createIndex(index: string): Promise<void> {
    await this.call(() => this.client.indices.create({ index, body: this.#indexDefinition() }));
  }

  async add(referenceId: string, segments: SegmentVectors): Promise<void> {
    const prefix = idPrefix(referenceId);
    const items = this.documentsOf(referenceId, segments).map((document, row) => ({
      action: JSON.stringify({ index: { _id: `${prefix}-${segments.segments[row]}` } }),
      source: `${document}}`,
    }));
    await this.bulk(items, { require_alias: true, refresh: this.#waitUntilFound ? 'wait_for' : false });
  }

  async remove(referenceId: string): Promise<number> {
    // What was written but cannot be found yet would survive.
    await this.call(() => this.client.indices.refresh({ index: this.alias }));
    let removed = 0;
    // A write in between is a version conflict: it is left out, and met in the next round.
    for (let conflicts = true; conflicts; ) {
      const { body } = await this.call(() =>
        this.client.deleteByQuery(
          {
            index: this.alias,
            conflicts: 'proceed',
            refresh: true,
            body: { query: { term: { reference: referenceId } } },
          },
          { requestTimeout: DELETE_TIMEOUT_MS },
        ),
      );
      const { deleted = 0, version_conflicts = 0, failures = [] } = body as DeletedByQuery;
      if (failures.length > 0) {
        throw new CatalogueError(`deleting ${referenceId} failed: ${JSON.stringify(failures[0])}`);
      }
      removed += deleted;
      conflicts = version_conflicts > 0;
    }
    return removed;
  }

  /** The generation is made of the index's number and of its count of operations, which outlives restarts. */
  async stats(): Promise<{ segments: number; references: number; generation: number }> {
    const [counted, stats] = await Promise.all([
      this.call(() =>
        this.client.search({
          index: this.alias,
          allow_partial_search_results: false,
          body: {
            size: 0,
            track_total_hits: true,
            aggregations: { references: { cardinality: CARDINALITY_OF_REFERENCES } },
          },
        }),
      ),
      this.call(() =>
        this.client.indices.stats({ index: this.alias, metric: ['indexing'], level: 'shards' }),
      ),
    ]);
    const { hits, aggregations } = counted.body as unknown as Counted;
    return {
      segments: hits.total.value,
      references: aggregations.references.value,
      generation: generationOf((stats.body as unknown as IndexStats).indices),
    };
  }

  #indexDefinition() {
    const { settings, properties } = this.definition();
    return {
      settings: {
        index: {
          ...settings,
          // What it would save comes dear: OpenSearch 3.5 loses whole shards, until it is started anew, when segments with
          // deleted documents are read from a source that it derives (OpenSearch issue 20622). So nothing is: the source
          // is not kept at all, and vectors are read from a column of their own.
          'knn.derived_source.enabled': false,
          number_of_shards: this.#shards,
          number_of_replicas: this.#replicas,
        },
      },
      mappings: { dynamic: 'strict' as const, _source: { enabled: false }, properties },
      aliases: { [this.alias]: { is_write_index: true } },
    };
  }
}

interface DeletedByQuery {
  deleted?: number;
  version_conflicts?: number;
  failures?: unknown[];
}

interface Counted {
  hits: { total: { value: number } };
  aggregations: { references: { value: number } };
}

type IndexStats = {
  indices: Record<
    string,
    { shards: Record<string, { routing: { primary: boolean }; seq_no: { max_seq_no: number } }[]> }
  >;
};

/** Sequence numbers count every write and deletion of a shard; the index's own number outweighs them all. */
function generationOf(indices: IndexStats['indices']): number {
  let operations = 0;
  let number = 0;
  for (const [name, { shards }] of Object.entries(indices)) {
    number = Math.max(number, Number(/\d+$/.exec(name)?.[0] ?? 0));
    for (const copies of Object.values(shards)) {
      operations += copies.find(({ routing }) => routing.primary)!.seq_no.max_seq_no + 1;
    }
  }
  return number * 2 ** 40 + operations;
}

/** Ids may have 512 bytes; references may be named at length, and in any script. */
const idPrefix = (referenceId: string): string =>
  createHash('sha256').update(referenceId).digest('base64url').slice(0, 22);
