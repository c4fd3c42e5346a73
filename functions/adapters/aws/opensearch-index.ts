import type { Client } from '@opensearch-project/opensearch';
import { RefrainError } from '../../core/errors.ts';
import { quantise } from '../../core/segments.ts';
import type { Catalogue, Hit, QuantisedVectors, SegmentVectors } from '../../ports/catalogue.ts';
import { forEachConcurrently } from '../../steps/pool.ts';
import { checkItems, isTransient, translated } from './opensearch-errors.ts';
import { PATIENT, type RetryPolicy, withRetries } from './retry.ts';
import { type Encoder, VectorForm } from './vector-form.ts';

export interface OpenSearchIndexSettings {
  dimension: number;
  /**
   * `faiss` in production (it can hold vectors as fp16 or int8); `lucene` where faiss's native library is missing:
   * there a faiss index ends the whole node at its first refresh.
   */
  engine: 'faiss' | 'lucene';
  /** By default `byte`, which detects as much as floats do (docs/SCALE.md). */
  encoder?: Encoder;
  /** How soon written segments can be found: shorter means more and smaller graphs to search. */
  refreshInterval?: string;
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
  refreshInterval: '1s',
  efSearch: 100,
  queriesPerRequest: 100,
  concurrency: 4,
  retry: PATIENT,
} as const;

/** Aimed-at size of a bulk request, bytes; the server refuses far larger ones, and retries repeat the whole. */
const BULK_BYTES = 2 * 1024 * 1024;
const VECTORS_PER_PAGE = 1000;
/** Largest value of the `segment` field. */
const MAX_SEGMENT = 0x7fff_ffff;

/** References that must not use up the `k` neighbours. */
export interface SearchFilter {
  except?: readonly string[];
}

/** One line of a bulk request, or two. */
export interface BulkItem {
  action: string;
  source?: string;
}

/**
 * The segments of one model in an index of OpenSearch, whoever runs it: how they are asked for, and how requests are tried
 * again. The client does not retry 429s, and inside `_msearch` and `_bulk` each item can fail by itself: only what failed
 * is asked for again. An answer in which a shard is missing counts as failed, never as "nothing found".
 */
export abstract class OpenSearchIndex implements Catalogue {
  /** What requests name: the index, or an alias that stands for it. */
  readonly name: string;
  protected readonly client: Client;
  protected readonly form: VectorForm;
  readonly #settings: Required<OpenSearchIndexSettings>;

  constructor(client: Client, name: string, settings: OpenSearchIndexSettings) {
    this.client = client;
    this.name = name;
    this.#settings = { ...DEFAULTS, ...settings };
    this.form = new VectorForm(this.#settings.encoder);
    if (settings.engine === 'lucene' && settings.encoder === 'fp16') {
      throw new RangeError('the lucene engine has no fp16 encoder: use none or byte');
    }
  }

  abstract exists(): Promise<boolean>;
  /** Creates the index unless it exists. */
  abstract ensureIndex(): Promise<void>;
  abstract add(referenceId: string, segments: SegmentVectors): Promise<void>;
  abstract remove(referenceId: string): Promise<number>;
  abstract stats(): Promise<{ segments: number; references: number; generation: number }>;

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
          return [row, this.#searchBody(this.form.json(query), k, filter)];
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
    const rows: string[] = [];
    for (let next = from; next < to && next <= MAX_SEGMENT; ) {
      const { body } = await this.call(() =>
        this.client.search({
          index: this.name,
          allow_partial_search_results: false,
          body: {
            size: VECTORS_PER_PAGE,
            track_total_hits: false,
            // Doc values alone: for an id, OpenSearch would unpack a block of stored fields.
            _source: false,
            stored_fields: '_none_',
            docvalue_fields: ['segment', 'packed'],
            sort: [{ segment: { order: 'asc' } }, ...this.amongEquals],
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
        if (segment[0] === segments.at(-1)) continue;
        segments.push(segment[0]);
        rows.push(packed[0]);
      }
      if (page.length < VECTORS_PER_PAGE) break;
      next = segments.at(-1)! + 1;
    }
    return {
      segments: Uint32Array.from(segments),
      vectors: this.form.unpacked(rows, this.#settings.dimension),
    };
  }

  /** Which document of a segment comes first, where there may be several. */
  protected readonly amongEquals: readonly { [field: string]: { order: 'asc' | 'desc' } }[] = [];

  /** What every index of segments has. */
  protected definition() {
    const { dimension, engine, refreshInterval } = this.#settings;
    return {
      settings: { knn: true, refresh_interval: refreshInterval },
      properties: {
        reference: { type: 'keyword' as const },
        segment: { type: 'integer' as const },
        packed: { type: 'binary' as const, doc_values: true },
        [this.form.field]: this.form.mapping(dimension, engine),
      },
    };
  }

  /** What is stored of each segment: JSON without its closing brace. */
  protected documentsOf(referenceId: string, { segments, vectors }: SegmentVectors): string[] {
    const { dimension } = this.#settings;
    if (vectors.length !== segments.length * dimension) {
      throw new RefrainError(
        'BAD_VECTORS',
        `${segments.length} segments of ${dimension} values need ${segments.length * dimension} values, not ` +
          `${vectors.length}`,
      );
    }
    return Array.from(segments, (segment, row) => {
      const vector = vectors.subarray(row * dimension, (row + 1) * dimension);
      return (
        `{"reference":${JSON.stringify(referenceId)},"segment":${segment},` +
        `"${this.form.field}":${this.form.json(vector)},"packed":"${this.form.packed(vector)}"`
      );
    });
  }

  /** Sends items in requests of a bearable size; what is refused for now is sent again, and nothing else. */
  protected async bulk(items: readonly BulkItem[], querystring: Record<string, unknown> = {}): Promise<void> {
    const { dimension, concurrency } = this.#settings;
    const batches = chunked(items, Math.max(1, Math.floor(BULK_BYTES / (dimension * 11 + 200))));
    await forEachConcurrently(batches, concurrency, async (batch) => {
      let pending = batch;
      await this.call(async () => {
        const lines = pending.map(({ action, source }) => `${action}\n${source ? `${source}\n` : ''}`);
        // Not the client's own bulk, which sends a PUT where an index is named: Serverless documents POST alone.
        const { body } = await this.client.transport.request({
          method: 'POST',
          path: `/${encodeURIComponent(this.name)}/_bulk`,
          querystring,
          bulkBody: lines.join(''),
        });
        const results = (body as BulkAnswer).items.map((item) => Object.values(item)[0]!);
        const refused = pending.filter((_, i) => results[i]!.error !== undefined);
        pending = refused;
        checkItems(results.flatMap(({ status, error }) => (error ? [{ status, error }] : [])));
      });
    });
  }

  /** Retries by ourselves: the client repeats neither a 429 nor what failed inside an answer. */
  protected async call<T>(work: () => Promise<T>): Promise<T> {
    return withRetries(
      () =>
        work().catch((error) => {
          throw translated(error);
        }),
      isTransient,
      this.#settings.retry,
    );
  }

  async #msearch(bodies: Map<number, string>, found: (row: number, hits: Hit[]) => void): Promise<void> {
    const header = `${JSON.stringify({ index: this.name, allow_partial_search_results: false })}\n`;
    await this.call(async () => {
      const rows = [...bodies.keys()];
      const lines = rows.map((row) => `${header}${bodies.get(row)}\n`).join('');
      const { body } = await this.client.msearch({ body: lines as never });
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
            response.hits.hits.map(({ _score, fields }) => ({
              referenceId: fields.reference[0],
              segment: fields.segment[0],
              similarity: this.form.similarityOf(_score),
            })),
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
      `"docvalue_fields":["reference","segment"],"query":{"knn":{"${this.form.field}":{"vector":${vector},"k":${k},` +
      `"method_parameters":{"ef_search":${efSearch}}${filter}}}}}`
    );
  }
}

interface SearchResponse {
  status: number;
  error?: unknown;
  timed_out: boolean;
  _shards: { failed: number };
  hits: { hits: { _score: number; fields: { reference: [string]; segment: [number] } }[] };
}

interface BulkAnswer {
  items: Record<string, { status: number; error?: unknown }>[];
}

interface StoredFields {
  segment: [number];
  packed: [string];
}

function* chunked<T>(items: readonly T[], size: number): Iterable<T[]> {
  for (let start = 0; start < items.length; start += size) yield items.slice(start, start + size);
}
