import { createHash } from 'node:crypto';
import type { Client } from '@opensearch-project/opensearch';
import { RefrainError } from '../../core/errors.ts';
import { quantise } from '../../core/segments.ts';
import type { Catalogue, Hit, QuantisedVectors, SegmentVectors } from '../../ports/catalogue.ts';
import { forEachConcurrently } from '../../steps/pool.ts';
import { CatalogueError, checkItems, isTransient, translated } from './opensearch-errors.ts';
import { PATIENT, type RetryPolicy, withRetries } from './retry.ts';

export interface OpenSearchCatalogueSettings {
  /** The model whose segments the index holds. */
  modelId: string;
  /** Another name than the model's own, for an index that is not live yet. */
  alias?: string;
  dimension: number;
  /**
   * `faiss` in production (it can hold vectors as fp16 or int8); `lucene` where faiss's native library is missing:
   * there a faiss index ends the whole node at its first refresh.
   */
  engine: 'faiss' | 'lucene';
  /**
   * How vectors are held: `none` as they are, `fp16` in half the memory (faiss alone), `byte` in a quarter. By
   * default `byte`, which detects as much as floats do (docs/SCALE.md).
   */
  encoder?: 'none' | 'fp16' | 'byte';
  shards?: number;
  replicas?: number;
  /** How soon written segments can be found: shorter means more and smaller graphs to search. */
  refreshInterval?: string;
  /** Whether a write resolves only when it can be found, which a reference that is called active must be. */
  waitUntilFound?: boolean;
  /** Candidates that the graph search keeps: recall against time. At least `k`. */
  efSearch?: number;
  /** Queries that travel together. */
  queriesPerRequest?: number;
  /** Requests in flight at once for one call of this class. */
  concurrency?: number;
  retry?: RetryPolicy;
}

const DEFAULTS = {
  encoder: 'byte',
  shards: 1,
  replicas: 0,
  refreshInterval: '1s',
  waitUntilFound: true,
  efSearch: 100,
  queriesPerRequest: 100,
  concurrency: 4,
  retry: PATIENT,
} as const;

/** Aimed-at size of a bulk request, bytes; the server refuses far larger ones, and retries repeat the whole. */
const BULK_BYTES = 2 * 1024 * 1024;
const VECTORS_PER_PAGE = 1000;
/** Half a day of audio is some 170,000 deletions. */
const DELETE_TIMEOUT_MS = 120_000;
/** Exact up to the threshold, within some per cent above it. The client's types know none of its parameters. */
const CARDINALITY_OF_REFERENCES = { field: 'reference', precision_threshold: 40_000 } as object;
/** What 1 becomes when vectors are held as bytes. */
const BYTE = 127;
/**
 * Bytes have a field of their own, so that whoever asks an index that holds vectors in the other way is refused. On the
 * wrong scale everything would look different from everything, and every upload clear.
 */
export const VECTOR_FIELDS = { float: 'vector', byte: 'vectorBytes' } as const;
/** Largest value of the `segment` field. */
const MAX_SEGMENT = 0x7fff_ffff;

/** References that must not use up the `k` neighbours. */
export interface SearchFilter {
  except?: readonly string[];
}

/**
 * The catalogue of one model in OpenSearch: a k-NN index behind an alias.
 *
 * - Names: index `refrain-MODEL-000001`, alias `refrain-MODEL`. All reads and writes go to the alias, so a rebuilt
 *   index takes over in one step.
 * - Segments have deterministic ids: a repeated registration rewrites what is there.
 * - A write waits until it can be found (`refresh=wait_for`), where that is asked for: a reference that is called active is searchable. Waiting
 *   for the periodic refresh, rather than forcing one, keeps a flood of registrations from making a flood of tiny
 *   graphs.
 * - The client does not retry 429s, and inside `_msearch` and `_bulk` each item can fail by itself: only what failed
 *   is asked for again. An answer in which a shard is missing counts as failed, never as "nothing found".
 */
export class OpenSearchCatalogue implements Catalogue {
  readonly alias: string;
  readonly #client: Client;
  readonly #settings: Required<Omit<OpenSearchCatalogueSettings, 'alias'>>;

  constructor(client: Client, settings: OpenSearchCatalogueSettings) {
    this.#client = client;
    this.#settings = { ...DEFAULTS, ...settings };
    this.alias = settings.alias ?? `refrain-${settings.modelId}`;
    if (settings.engine === 'lucene' && settings.encoder === 'fp16') {
      throw new RangeError('the lucene engine has no fp16 encoder: use none or byte');
    }
  }

  async exists(): Promise<boolean> {
    return (await this.#call(() => this.#client.indices.existsAlias({ name: this.alias }))).body;
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
    await this.#call(() => this.#client.indices.create({ index, body: this.#indexDefinition() }));
  }

  async add(referenceId: string, { segments, vectors }: SegmentVectors): Promise<void> {
    const { dimension, concurrency } = this.#settings;
    if (vectors.length !== segments.length * dimension) {
      throw new RefrainError(
        'BAD_VECTORS',
        `${segments.length} segments of ${dimension} values need ${segments.length * dimension} values, not ` +
          `${vectors.length}`,
      );
    }
    const prefix = idPrefix(referenceId);
    const rows = Array.from(segments, (segment, row) => {
      const vector = vectors.subarray(row * dimension, (row + 1) * dimension);
      return {
        action: JSON.stringify({ index: { _id: `${prefix}-${segment}` } }),
        source:
          `{"reference":${JSON.stringify(referenceId)},"segment":${segment},` +
          `"${this.#field}":${this.#vectorJson(vector)},"packed":"${this.#packed(vector)}"}`,
      };
    });
    const batches = chunked(rows, Math.max(1, Math.floor(BULK_BYTES / (dimension * 11 + 200))));
    await forEachConcurrently(batches, concurrency, (batch) => this.#bulk(batch));
  }

  async remove(referenceId: string): Promise<number> {
    // What was written but cannot be found yet would survive.
    await this.#call(() => this.#client.indices.refresh({ index: this.alias }));
    let removed = 0;
    // A write in between is a version conflict: it is left out, and met in the next round.
    for (let conflicts = true; conflicts; ) {
      const { body } = await this.#call(() =>
        this.#client.deleteByQuery(
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

  async search(queries: Float32Array, k: number, filter: SearchFilter = {}): Promise<Hit[][]> {
    const { dimension, queriesPerRequest, concurrency } = this.#settings;
    if (queries.length % dimension !== 0) {
      throw new RefrainError('BAD_VECTORS', `${queries.length} values are not whole queries of ${dimension}`);
    }
    const rows = Array.from({ length: queries.length / dimension }, (_, row) => row);
    const hits: Hit[][] = rows.map(() => []);
    await forEachConcurrently(chunked(rows, queriesPerRequest), concurrency, async (batch) => {
      const bodies = new Map(
        batch.map((row) => {
          const query = queries.subarray(row * dimension, (row + 1) * dimension);
          return [row, this.#searchBody(this.#vectorJson(query), k, filter)];
        }),
      );
      await this.#msearch(bodies, (row, found) => {
        hits[row] = found;
      });
    });
    return hits;
  }

  async vectorsOf(referenceId: string, from: number, to: number): Promise<QuantisedVectors> {
    const { segments, vectors } = await this.exactVectorsOf(referenceId, from, to);
    return { segments, vectors: quantise(vectors) };
  }

  /** The same as precisely as the index holds them. */
  async exactVectorsOf(referenceId: string, from: number, to: number): Promise<SegmentVectors> {
    const segments: number[] = [];
    const rows: Float32Array[] = [];
    for (let next = from; next < to && next <= MAX_SEGMENT; ) {
      const { body } = await this.#call(() =>
        this.#client.search({
          index: this.alias,
          allow_partial_search_results: false,
          body: {
            size: VECTORS_PER_PAGE,
            track_total_hits: false,
            _source: false,
            docvalue_fields: ['segment', 'packed'],
            sort: [{ segment: { order: 'asc' } }],
            query: {
              bool: {
                filter: [
                  { term: { reference: referenceId } },
                  { range: { segment: { gte: next, lte: Math.min(to - 1, MAX_SEGMENT) } } },
                ],
              },
            },
          },
        }),
      );
      const page = body.hits.hits.map(({ fields }) => fields as unknown as StoredFields);
      for (const { segment, packed } of page) {
        segments.push(segment[0]);
        rows.push(this.#unpacked(packed[0]));
      }
      if (page.length < VECTORS_PER_PAGE) break;
      next = segments.at(-1)! + 1;
    }
    const vectors = new Float32Array(rows.length * this.#settings.dimension);
    rows.forEach((row, i) => {
      vectors.set(row, i * this.#settings.dimension);
    });
    return { segments: Uint32Array.from(segments), vectors };
  }

  /** The generation is made of the index's number and of its count of operations, which outlives restarts. */
  async stats(): Promise<{ segments: number; references: number; generation: number }> {
    const [counted, stats] = await Promise.all([
      this.#call(() =>
        this.#client.search({
          index: this.alias,
          allow_partial_search_results: false,
          body: {
            size: 0,
            track_total_hits: true,
            aggregations: { references: { cardinality: CARDINALITY_OF_REFERENCES } },
          },
        }),
      ),
      this.#call(() =>
        this.#client.indices.stats({ index: this.alias, metric: ['indexing'], level: 'shards' }),
      ),
    ]);
    const { hits, aggregations } = counted.body as unknown as Counted;
    return {
      segments: hits.total.value,
      references: aggregations.references.value,
      generation: generationOf((stats.body as unknown as IndexStats).indices),
    };
  }

  async #bulk(batch: readonly { action: string; source: string }[]): Promise<void> {
    let pending = batch;
    await this.#call(async () => {
      const lines = pending.map(({ action, source }) => `${action}\n${source}\n`).join('');
      const { body } = await this.#client.bulk({
        index: this.alias,
        require_alias: true,
        refresh: this.#settings.waitUntilFound ? 'wait_for' : false,
        // Sent as it is; the types only know the object form.
        body: lines as never,
      });
      const results = body.items.map((item) => item.index!);
      const refused = pending.filter((_, i) => results[i]!.error !== undefined);
      pending = refused;
      checkItems(results.flatMap(({ status, error }) => (error ? [{ status, error }] : [])));
    });
  }

  async #msearch(bodies: Map<number, string>, found: (row: number, hits: Hit[]) => void): Promise<void> {
    const header = `${JSON.stringify({ index: this.alias, allow_partial_search_results: false })}\n`;
    await this.#call(async () => {
      const rows = [...bodies.keys()];
      const lines = rows.map((row) => `${header}${bodies.get(row)}\n`).join('');
      const { body } = await this.#client.msearch({ body: lines as never });
      const refused: { status: number; error: unknown }[] = [];
      (body.responses as unknown as SearchResponse[]).forEach((response, i) => {
        if (response.error || response.timed_out || response._shards.failed > 0) {
          refused.push({
            status: response.error ? response.status : 503,
            error: response.error ?? 'partial answer',
          });
        } else {
          found(
            rows[i]!,
            response.hits.hits.map((hit) => this.#hitOf(hit)),
          );
          bodies.delete(rows[i]!);
        }
      });
      checkItems(refused);
    });
  }

  #searchBody(vector: string, k: number, { except = [] }: SearchFilter): string {
    const efSearch = Math.max(k, this.#settings.efSearch);
    const filter =
      except.length === 0
        ? ''
        : `,"filter":${JSON.stringify({ bool: { must_not: { terms: { reference: except } } } })}`;
    // Doc values alone: no source, no ids, nothing that would have to be unpacked.
    return (
      `{"size":${k},"track_total_hits":false,"_source":false,"stored_fields":"_none_",` +
      `"docvalue_fields":["reference","segment"],"query":{"knn":{"${this.#field}":{"vector":${vector},"k":${k},` +
      `"method_parameters":{"ef_search":${efSearch}}${filter}}}}}`
    );
  }

  #indexDefinition() {
    const { dimension, engine, encoder, shards, replicas, refreshInterval } = this.#settings;
    const fp16 = { encoder: { name: 'sq', parameters: { type: 'fp16' } } };
    const parameters = { m: 16, ef_construction: 128, ...(encoder === 'fp16' && fp16) };
    return {
      settings: {
        index: {
          knn: true,
          // What it would save comes dear: OpenSearch 3.5 loses whole shards, until it is started anew, when segments with
          // deleted documents are read from a source that it derives (OpenSearch issue 20622). So nothing is: the source
          // is not kept at all, and vectors are read from a column of their own.
          'knn.derived_source.enabled': false,
          number_of_shards: shards,
          number_of_replicas: replicas,
          refresh_interval: refreshInterval,
        },
      },
      mappings: {
        dynamic: 'strict' as const,
        _source: { enabled: false },
        properties: {
          reference: { type: 'keyword' as const },
          segment: { type: 'integer' as const },
          packed: { type: 'binary' as const, doc_values: true },
          [this.#field]: {
            type: 'knn_vector' as const,
            dimension,
            data_type: encoder === 'byte' ? 'byte' : 'float',
            // Rows have length 1, so the inner product is the cosine, without a norm to compute for every pair.
            method: { name: 'hnsw', space_type: 'innerproduct', engine, parameters },
          },
        },
      },
      aliases: { [this.alias]: { is_write_index: true } },
    };
  }

  /** Bytes stand for `[-1, 1]`; of floats, seven decimals are what float32 holds near 1, and more would double the size. */
  #vectorJson(vector: Float32Array): string {
    const decimals = this.#isByte ? BYTE : 1e7;
    const unit = this.#isByte ? 1 : 1e7;
    return `[${Array.from(vector, (value) => Math.round(value * decimals) / unit).join(',')}]`;
  }

  /** A vector as it is stored to be read again: int8, or float32 in little-endian order; base64. */
  #packed(vector: Float32Array): string {
    const values = this.#isByte ? Int8Array.from(vector, (value) => Math.round(value * BYTE)) : vector;
    return Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString('base64');
  }

  #unpacked(packed: string): Float32Array {
    const bytes = new Uint8Array(Buffer.from(packed, 'base64'));
    const values = this.#isByte ? new Int8Array(bytes.buffer) : new Float32Array(bytes.buffer);
    return this.#isByte ? Float32Array.from(values, (value) => value / BYTE) : Float32Array.from(values);
  }

  #hitOf({ _score, fields }: SearchHit): Hit {
    // How the k-NN plugin turns an inner product into a score, backwards.
    const product = _score >= 1 ? _score - 1 : 1 - 1 / _score;
    return {
      referenceId: fields.reference[0],
      segment: fields.segment[0],
      similarity: this.#isByte ? product / BYTE ** 2 : product,
    };
  }

  get #field(): VectorField {
    return VECTOR_FIELDS[this.#isByte ? 'byte' : 'float'];
  }

  get #isByte(): boolean {
    return this.#settings.encoder === 'byte';
  }

  /** Retries by ourselves: the client repeats neither a 429 nor what failed inside an answer. */
  async #call<T>(work: () => Promise<T>): Promise<T> {
    return withRetries(
      () =>
        work().catch((error) => {
          throw translated(error);
        }),
      isTransient,
      this.#settings.retry,
    );
  }
}

type VectorField = (typeof VECTOR_FIELDS)[keyof typeof VECTOR_FIELDS];

interface SearchResponse {
  status: number;
  error?: unknown;
  timed_out: boolean;
  _shards: { failed: number };
  hits: { hits: SearchHit[] };
}

interface SearchHit {
  _score: number;
  fields: { reference: [string]; segment: [number] };
}

interface StoredFields {
  segment: [number];
  packed: [string];
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

function* chunked<T>(items: readonly T[], size: number): Iterable<T[]> {
  for (let start = 0; start < items.length; start += size) yield items.slice(start, start + size);
}
