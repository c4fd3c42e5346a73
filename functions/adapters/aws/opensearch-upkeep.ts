import type { Client } from '@opensearch-project/opensearch';
import type { CatalogueState, IndexState } from '../../core/catalogue-state.ts';
import type { ModelManifest } from '../../core/model.ts';
import type { Catalogue } from '../../ports/catalogue.ts';
import type { CatalogueRebuild, CatalogueUpkeep } from '../../ports/catalogue-upkeep.ts';
import { OpenSearchCatalogue, type OpenSearchCatalogueSettings } from './opensearch-catalogue.ts';
import { CatalogueError, isTransient, translated } from './opensearch-errors.ts';
import { withRetries } from './retry.ts';
import { VECTOR_FIELDS } from './vector-form.ts';

/** References per page of a count. */
const PAGE = 1000;
/** Lucene merges no further by itself; merging what is larger anew each night would never pay. */
const FULL_GRAPH_BYTES = 5 * 1024 ** 3;
const MERGING = 'indices:admin/forcemerge';

/**
 * The indexes of one model's catalogue in OpenSearch: the live one behind the alias `refrain-MODEL`, and at times its
 * successor behind `refrain-MODEL-next`. Numbers in their names only grow.
 *
 * What goes from one to the other is read and written like everything else, and not by `_reindex`, which copies sources:
 * there are none (see the catalogue's index definition).
 */
export class OpenSearchUpkeep implements CatalogueUpkeep, CatalogueRebuild {
  readonly #client: Client;
  readonly #model: ModelManifest;
  readonly #settings: OpenSearchCatalogueSettings;
  readonly #live: OpenSearchCatalogue;
  readonly #next: OpenSearchCatalogue;

  constructor(client: Client, model: ModelManifest, settings: OpenSearchCatalogueSettings) {
    this.#client = client;
    this.#model = model;
    this.#settings = settings;
    this.#live = new OpenSearchCatalogue(client, settings);
    this.#next = new OpenSearchCatalogue(client, {
      ...settings,
      alias: `${this.#live.alias}-next`,
      // Nobody searches in it yet.
      waitUntilFound: false,
    });
  }

  async state(): Promise<CatalogueState> {
    const { id, sha256 } = this.#model;
    const [live, next] = [await this.#stateOf(this.#live), await this.#stateOf(this.#next)];
    return {
      model: { id, sha256 },
      alias: this.#live.alias,
      ...(live && { live }),
      ...(next && { next }),
    };
  }

  async remove(referenceId: string): Promise<number> {
    const next = await this.next();
    await next?.remove(referenceId);
    return (await this.#live.exists()) ? this.#live.remove(referenceId) : 0;
  }

  async merge(): Promise<boolean> {
    const live = await this.#indexBehind(this.#live);
    // What is about to be replaced is not worth the work.
    if (live === undefined || (await this.#next.exists())) return false;
    return !(await this.#isMerging(live)) && (await this.#merge(live));
  }

  /** Whether the live index holds vectors as the settings have it. */
  async fits(): Promise<boolean> {
    const live = await this.#indexBehind(this.#live);
    return live === undefined || (await this.#holdsBytes(live)) === (this.#settings.encoder === 'byte');
  }

  async begin(): Promise<void> {
    const live = await this.#indexBehind(this.#live);
    // A run that died while it took over may have left it closed.
    if (live) await this.#openForWriting(live);
    if (await this.#next.exists()) return;
    const since = live === undefined ? undefined : await this.#lastOperation(live);
    const number = Math.max(0, ...(await this.#numbers())) + 1;
    await this.#next.createIndex(`${this.#live.alias}-${String(number).padStart(6, '0')}`);
    if (since !== undefined) await this.#remember({ caughtUp: since });
  }

  async next(): Promise<Pick<Catalogue, 'add' | 'remove'> | undefined> {
    return (await this.#next.exists()) ? this.#next : undefined;
  }

  async counts(of: 'live' | 'next'): Promise<Map<string, number>> {
    const index = await this.#indexBehind(of === 'live' ? this.#live : this.#next);
    return index ? this.#countsIn(index, { match_all: {} }) : new Map();
  }

  async copy(referenceId: string, isNew = false): Promise<void> {
    const index = (await this.#indexBehind(this.#live))!;
    // It may hold them in another way than is wanted now.
    const from = new OpenSearchCatalogue(this.#client, {
      ...this.#settings,
      encoder: (await this.#holdsBytes(index)) ? 'byte' : 'none',
    });
    const segments = await from.exactVectorsOf(referenceId, 0, Number.POSITIVE_INFINITY);
    if (!isNew) await this.#next.remove(referenceId);
    await this.#next.add(referenceId, segments);
  }

  async catchUp(): Promise<void> {
    const live = await this.#indexBehind(this.#live);
    if (!live) return;
    // Of a shard's operations, each has its number; those of all shards are compared with the lowest.
    const until = await this.#lastOperation(live);
    const { caughtUp: since = -1 } = await this.#remembered();
    const written = await this.#countsIn(live, { range: { _seq_no: { gt: since } } });
    for (const referenceId of written.keys()) await this.copy(referenceId);
    await this.#remember({ caughtUp: until });
  }

  async mergeNext(): Promise<boolean> {
    const next = (await this.#indexBehind(this.#next))!;
    if (await this.#isMerging(next)) return false;
    // Once: it is written to meanwhile, and what comes later is as little as comes to any index.
    const { merged } = await this.#remembered();
    if (merged || !(await this.#merge(next))) return true;
    await this.#remember({ merged: true });
    return false;
  }

  async takeOver(isComplete: () => Promise<boolean>): Promise<boolean> {
    const live = await this.#indexBehind(this.#live);
    const next = (await this.#indexBehind(this.#next))!;
    // Resolves when the writes that were under way are done.
    if (live) await this.#call(() => this.#client.indices.addBlock({ index: live, block: 'write' }));
    let isDone = false;
    try {
      await this.catchUp();
      await this.#refresh(next);
      if (!(await isComplete())) return false;
      const actions = [
        { add: { index: next, alias: this.#live.alias, is_write_index: true } },
        { remove: { index: next, alias: this.#next.alias } },
        ...(live ? [{ remove_index: { index: live } }] : []),
      ];
      try {
        await this.#call(() => this.#client.indices.updateAliases({ body: { actions } }));
      } catch (error) {
        // Asked twice, because the first answer was lost: there is nothing left to do, which is refused.
        if ((await this.#indexBehind(this.#live)) !== next) throw error;
      }
      isDone = true;
      return true;
    } finally {
      if (live && !isDone) await this.#openForWriting(live);
    }
  }

  /** How many segments each reference has among those that the query selects. */
  async #countsIn(index: string, query: object): Promise<Map<string, number>> {
    await this.#refresh(index);
    const counts = new Map<string, number>();
    for (let after: object | undefined; ; ) {
      const sources = [{ reference: { terms: { field: 'reference' } } }];
      const composite = { size: PAGE, sources, ...(after && { after }) };
      const { body } = await this.#call(() =>
        this.#client.search({
          index,
          allow_partial_search_results: false,
          body: { size: 0, query, aggregations: { references: { composite } } as never },
        }),
      );
      const { buckets, after_key } = (body.aggregations as unknown as { references: Composite }).references;
      for (const { key, doc_count } of buckets) counts.set(key.reference, doc_count);
      if (buckets.length < PAGE) return counts;
      after = after_key;
    }
  }

  /** The lowest of what the shards had last. */
  async #lastOperation(index: string): Promise<number> {
    const { body } = await this.#call(() =>
      this.#client.indices.stats({ index, metric: ['indexing'], level: 'shards' }),
    );
    const { shards } = (body as unknown as ShardStats).indices[index]!;
    const primaries = Object.values(shards).map((copies) => copies.find(({ routing }) => routing.primary)!);
    return Math.min(...primaries.map(({ seq_no }) => seq_no.max_seq_no));
  }

  /** What the index that is being made says of itself. */
  async #remembered(): Promise<Progress> {
    const index = (await this.#indexBehind(this.#next))!;
    const { body } = await this.#call(() => this.#client.indices.getMapping({ index }));
    return (body[index]!.mappings as { _meta?: Progress })._meta ?? {};
  }

  async #remember(progress: Progress): Promise<void> {
    const body = { _meta: { ...(await this.#remembered()), ...progress } };
    await this.#call(() => this.#client.indices.putMapping({ index: this.#next.alias, body: body as never }));
  }

  /**
   * Begins to merge unless there is nothing to merge. OpenSearch does it one after the other on each node, so that two
   * who begin in the same moment do not do it twice.
   */
  async #merge(index: string): Promise<boolean> {
    const { shards, wanted } = await this.#graphsOf(index);
    if (shards.every((graphs) => graphs.length <= wanted)) return false;
    await this.#call(() =>
      this.#client.indices.forcemerge({ index, max_num_segments: wanted, wait_for_completion: false }),
    );
    return true;
  }

  async #isMerging(index: string): Promise<boolean> {
    const { body } = await this.#call(() => this.#client.tasks.list({ actions: MERGING, detailed: true }));
    return Object.values(body.nodes ?? {})
      .flatMap(({ tasks = {} }) => Object.values(tasks))
      .some(({ description = '' }) => description.includes(`[${index}]`));
  }

  /** The graphs of each shard, largest first, and how many a shard of this size should have. */
  async #graphsOf(index: string): Promise<{ shards: Graph[][]; wanted: number }> {
    const { body } = await this.#call(() => this.#client.indices.segments({ index }));
    const { shards } = (body as unknown as ShardSegments).indices[index]!;
    const graphs = Object.values(shards).map((copies) => {
      const { segments } = copies.find(({ routing }) => routing.primary)!;
      return Object.values(segments)
        .filter(({ search }) => search)
        .sort((a, b) => b.num_docs - a.num_docs);
    });
    const bytes = graphs.map((shard) => shard.reduce((sum, { size_in_bytes }) => sum + size_in_bytes, 0));
    return { shards: graphs, wanted: Math.max(1, Math.ceil(Math.max(...bytes) / FULL_GRAPH_BYTES)) };
  }

  async #holdsBytes(index: string): Promise<boolean> {
    const { body } = await this.#call(() => this.#client.indices.getMapping({ index }));
    return VECTOR_FIELDS.byte in body[index]!.mappings.properties!;
  }

  async #openForWriting(index: string): Promise<void> {
    const body = { index: { blocks: { write: null } } };
    await this.#call(() => this.#client.indices.putSettings({ index, body: body as never }));
  }

  async #refresh(index: string): Promise<void> {
    await this.#call(() => this.#client.indices.refresh({ index }));
  }

  async #indexBehind({ alias }: OpenSearchCatalogue): Promise<string | undefined> {
    try {
      const { body } = await this.#call(() => this.#client.indices.getAlias({ name: alias }));
      return Object.keys(body)[0];
    } catch (error) {
      if (error instanceof CatalogueError && error.status === 404) return undefined;
      throw error;
    }
  }

  /** Of all indexes of the model, whoever stands behind an alias. */
  async #numbers(): Promise<number[]> {
    const prefix = `${this.#live.alias}-`;
    const { body } = await this.#call(() => this.#client.indices.get({ index: `${prefix}*` }));
    return Object.keys(body)
      .map((name) => name.slice(prefix.length))
      .filter((rest) => /^\d{6}$/.test(rest))
      .map(Number);
  }

  async #stateOf(catalogue: OpenSearchCatalogue): Promise<IndexState | undefined> {
    const index = await this.#indexBehind(catalogue);
    if (index === undefined) return undefined;
    // First, because it says what is wrong with an index that has lost a shard.
    const counts = await catalogue.stats();
    const { body } = await this.#call(() => this.#client.indices.stats({ index, metric: ['store'] }));
    const { _all } = body as unknown as StoreStats;
    // What was merged is searched, and counted, from the next refresh on.
    await this.#refresh(index);
    const { shards, wanted } = await this.#graphsOf(index);
    const segmentsIn = (graphs: Graph[]) => graphs.reduce((sum, { num_docs }) => sum + num_docs, 0);
    const small = segmentsIn(shards.flatMap((graphs) => graphs.slice(wanted)));
    return {
      index,
      bytes: _all.total.store.size_in_bytes,
      ...counts,
      graphs: shards.flat().length,
      unmerged: small / Math.max(1, segmentsIn(shards.flat())),
      merging: await this.#isMerging(index),
    };
  }

  #call<T>(work: () => Promise<T>): Promise<T> {
    const translate = (error: unknown) => {
      throw translated(error);
    };
    return withRetries(() => work().catch(translate), isTransient, this.#settings.retry);
  }
}

interface StoreStats {
  _all: { total: { store: { size_in_bytes: number } } };
}

interface ShardStats {
  indices: Record<
    string,
    { shards: Record<string, { routing: { primary: boolean }; seq_no: { max_seq_no: number } }[]> }
  >;
}

interface ShardSegments {
  indices: Record<
    string,
    { shards: Record<string, { routing: { primary: boolean }; segments: Record<string, Graph> }[]> }
  >;
}

/** Each of Lucene's segments has one; to everybody else, a segment is a piece of a recording. */
interface Graph {
  num_docs: number;
  size_in_bytes: number;
  /** Whether queries see it. */
  search: boolean;
}

/** How far the making of an index is. */
interface Progress {
  /** Up to which operation of the live index it knows everything. */
  caughtUp?: number;
  /** Whether its graphs were merged, or are. */
  merged?: boolean;
}

interface Composite {
  buckets: { key: { reference: string }; doc_count: number }[];
  after_key?: object;
}
