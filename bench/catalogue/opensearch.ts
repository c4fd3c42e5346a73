import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Client } from '@opensearch-project/opensearch';
import {
  OpenSearchCatalogue,
  type OpenSearchCatalogueSettings,
} from '../../functions/adapters/aws/opensearch-catalogue.ts';
import { createOpenSearchClient } from '../../functions/adapters/aws/opensearch-client.ts';
import { isTransient, translated } from '../../functions/adapters/aws/opensearch-errors.ts';
import { withRetries } from '../../functions/adapters/aws/retry.ts';
import { SegmentGrid } from '../../functions/core/segment-grid.ts';
import type { Hit, SegmentVectors } from '../../functions/core/segments.ts';
import { DEFAULT_SCAN_SETTINGS, type ScanDependencies } from '../../functions/scan/dependencies.ts';
import { matchHeard } from '../../functions/scan/match.ts';
import { encodeWindow, joinWindows } from '../../functions/scan/window-record.ts';
import { forEachConcurrently } from '../../functions/steps/pool.ts';
import { OpenSearchServer } from '../../test/real/servers/opensearch.ts';
import { RefrainEngine } from '../accuracy/engine.ts';
import { catalogueOf, counter } from '../accuracy/queries.ts';
import { protocolOf } from '../accuracy/split.ts';
import { aimedSegments, rivalsBySize } from './crowding.ts';
import { exactNearest, nameOf, nearestBySigns } from './exact.ts';
import { distortedExcerpts, embedFiles } from './heard.ts';
import { bestOf, type Cost, costOf } from './meter.ts';
import { manySongs, songsOf } from './songs.ts';

// The catalogue on the genuine OpenSearch, at scale: what each way of holding vectors costs in time, disk and memory,
// how fast it answers, and how much of the truth it finds. Everything goes through our own adapter.
//
//   npm run bench:catalogue                                              a million segments, as floats and as bytes
//   npm run bench:catalogue -- --segments 200000 --encodings all         every encoding, in a quarter of an hour
//
// The queries are real excerpts with real distortions; the truth is found by comparing with everything. Of the server,
// processor time is printed as well, which other work on the machine does not blur.

/** What the lucene engine can do with a vector; faiss's native library is not to be had without Docker. */
const ENCODINGS = {
  float: {},
  byte: {},
  sq7: { data_type: 'float', method: { encoder: { name: 'sq' } } },
  'on-disk-4x': { data_type: 'float', mode: 'on_disk', compression_level: '4x' },
} as const;
type Encoding = keyof typeof ENCODINGS;

const { values: options } = parseArgs({
  options: {
    segments: { type: 'string', default: '1000000' },
    encodings: { type: 'string', default: 'float,byte' },
    'heap-mb': { type: 'string', default: '3072' },
  },
});
const SEGMENTS = Number(options.segments);
const CHOSEN = (
  options.encodings === 'all' ? Object.keys(ENCODINGS) : options.encodings.split(',').filter(Boolean)
) as Encoding[];
for (const name of CHOSEN) {
  if (!(name in ENCODINGS)) throw new Error(`no encoding ${name}; there are ${Object.keys(ENCODINGS)}`);
}

const { neighbours, windowSegments, concurrentWindows } = DEFAULT_SCAN_SETTINGS;
/** As many functions as may register at once, each with its own client. */
const REGISTRARS = 8;
const EXCERPTS_PER_CONDITION = 5;
/** Comparing with everything takes a while: of all queries, one in so many. */
const CHECKED = 8;
const RECALL_AT = 10;
const AIMED = 3;
const SIZES = [20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000];
const SIGN_CANDIDATES = 200;

const say = (text: string) => console.error(`${new Date().toISOString().slice(11, 19)} ${text}`);
const lines: string[] = [];
const tell = (line: string) => {
  lines.push(line);
  console.log(line);
};

const protocol = await protocolOf('validation');
const entries = await catalogueOf(protocol, true);
const engine = await RefrainEngine.open(entries, counter(say, 'registered', entries.length));
const { model: embedder, store } = engine.runtime;
const { model } = embedder;
const { dimension } = model;

const real = await songsOf(
  { references: store.references, catalogue: store.catalogue(model) },
  entries.map(({ id }) => id),
  dimension,
);
// Others may want its store while the server is at work.
await engine[Symbol.asyncDispose]();
const realSegments = real.reduce((sum, { segments }) => sum + segments.length, 0);
const songs = manySongs(real, SEGMENTS, dimension);
say(`${SEGMENTS} segments of ${songs.length} references, of which ${realSegments} are real`);

const excerpts = await distortedExcerpts(protocol, EXCERPTS_PER_CONDITION, 10);
const embedded: SegmentVectors[][] = [];
for (const { path } of excerpts) embedded.push(await embedFiles([path], embedder, { windowSegments }));
const queries = Float32Array.from(embedded.flat().flatMap(({ vectors }) => [...vectors]));
const queryCount = queries.length / dimension;
const checked = everyNth(queries, CHECKED);
say(`${queryCount} queries; comparing ${checked.length / dimension} of them with everything`);
const truth = exactNearest(songs, checked, RECALL_AT, dimension);

const known = new Map(songs.map(({ reference }) => [reference.referenceId, reference]));
/** In memory: the database of a deployment is not what is measured. */
const references = {
  getMany: async (ids: readonly string[]) => new Map(ids.map((id) => [id, known.get(id)!])),
};
const uploads = await threeMinutes();
const others: SegmentVectors[][] = [];
for (const { path } of protocol.outsiders)
  others.push(await embedFiles([path], embedder, { windowSegments }));
say('uploads are embedded');
const hours = (SEGMENTS * model.hopSamples) / model.sampleRate / 3600;

tell(`# The catalogue on OpenSearch 3.5 (lucene): ${whole(SEGMENTS)} segments, ${whole(hours)} hours\n`);
tell(
  `${new Date().toISOString().slice(0, 10)}; ${whole(Math.min(realSegments, SEGMENTS))} segments are real music, ` +
    `${whole(Math.max(0, SEGMENTS - realSegments))} are mirror images of it. One node, one shard, heap of ` +
    `${options['heap-mb']} MB. "CPU" is the server's processor time alone. ${queryCount} queries: ten-second excerpts ` +
    `with the ${excerpts.length / EXCERPTS_PER_CONDITION} distortions of the accuracy bench; k = ${neighbours}.\n`,
);
const bySigns = nearestBySigns(songs, checked, RECALL_AT, SIGN_CANDIDATES, dimension);
tell(
  `- One bit per value, compared with everything: of the true ten nearest, ${percent(shared(truth, bySigns))} are among ` +
    `the ${SIGN_CANDIDATES} nearest by sign. No index of binary vectors finds more.`,
);
const server = await OpenSearchServer.start({ heapMb: Number(options['heap-mb']), optimise: 'speed' });
try {
  for (const encoding of CHOSEN) await measure(encoding);
} finally {
  await server.dispose();
}
tellCrowding();
await mkdir(join(import.meta.dirname, '../results'), { recursive: true });
await writeFile(
  join(import.meta.dirname, `../results/catalogue-${SEGMENTS}-${CHOSEN.join('-')}.md`),
  `${lines.join('\n')}\n`,
);

/** What no index can help: in a larger catalogue, more of what is near is of other recordings. */
function tellCrowding(): void {
  const sizes = SIZES.filter((size) => size <= SEGMENTS);
  const grid = new SegmentGrid(model);
  const aimed = excerpts.flatMap((excerpt, i) =>
    embedded[i]!.flatMap((window) => aimedSegments(excerpt, window, grid)),
  );
  const some = aimed.filter((_, i) => i % AIMED === 0);
  tell('\n| segments in the catalogue | right one nearest | among the 20 nearest |\n|---:|---:|---:|');
  for (const [i, rivals] of rivalsBySize(songs, some, sizes, dimension).entries()) {
    const within = (k: number) => percent(rivals.filter((count) => count < k).length / rivals.length);
    tell(`| ${whole(sizes[i]!)} | ${within(1)} | ${within(neighbours)} |`);
  }
}

async function measure(encoding: Encoding): Promise<void> {
  tell(`\n## ${encoding}\n`);
  const client = connect();
  const catalogue = catalogueFor(encoding, client);
  const index = `${catalogue.alias}-000001`;
  if (encoding === 'float' || encoding === 'byte') await catalogue.ensureIndex();
  else await createIndex(client, index, catalogue.alias, encoding);

  const filled = await costOf(server.pid, () => register(encoding));
  const before = await contentOf(client, index);
  tell(
    `- Registered in ${whole(filled.seconds)} s (CPU ${whole(filled.serverSeconds)} s): ` +
      `${whole(SEGMENTS / filled.seconds)} segments a second; ${before.graphs} graphs.`,
  );
  await search(catalogue);
  tell(`- Before merging: ${speedOf(await bestOf(2, server.pid, () => search(catalogue)))}.`);
  await tellLatency('before merging', catalogue);

  say('merging');
  const merged = await costOf(server.pid, () =>
    client.indices.forcemerge({ index, max_num_segments: 1 }, { requestTimeout: 7_200_000 }),
  );
  const after = await contentOf(client, index);
  tell(
    `- Merged into ${after.graphs} graph in ${whole(merged.seconds)} s (CPU ${whole(merged.serverSeconds)} s). ` +
      `On disk **${whole(after.bytes / SEGMENTS)} bytes** a segment; to be kept in memory ` +
      `**${whole((after.vectors + after.links) / SEGMENTS)}**: ${whole(after.vectors / SEGMENTS)} of vectors, ` +
      `${whole(after.links / SEGMENTS)} of links. (${after.files})`,
  );
  await bestOf(4, server.pid, () => search(catalogue));
  for (const queriesPerRequest of [50, 100, 200]) {
    const best = await bestOf(3, server.pid, () =>
      search(catalogueFor(encoding, client, { queriesPerRequest })),
    );
    tell(`- \`_msearch\` of ${queriesPerRequest}: ${speedOf(best)}.`);
  }
  for (const efSearch of [50, 100, 200, 400]) {
    const wider = catalogueFor(encoding, client, { efSearch });
    const cost = await bestOf(2, server.pid, () => search(wider));
    tell(
      `- ef_search ${efSearch} (CPU ${perThousand(cost)}): ${await recallOf(wider)}; ${await detectedBy(wider)}.`,
    );
  }
  await tellLatency('merged', catalogue);
  await tellAlarms(catalogue);
  await client.indices.delete({ index });
}

async function tellLatency(state: string, catalogue: OpenSearchCatalogue): Promise<void> {
  for (const [what, windows] of Object.entries(uploads)) {
    for (let i = 0; i < 2; i++) await match(windows, catalogue);
    const runs = [];
    for (let i = 0; i < 7; i++) runs.push(await match(windows, catalogue));
    runs.sort((a, b) => a.searchMs + a.matchMs - b.searchMs - b.matchMs);
    const [best, median] = [runs[0]!, runs[runs.length >> 1]!];
    tell(
      `- Three minutes of upload, ${what}, ${state} (${best.queries} queries, ${best.found.length} references found): ` +
        `**${whole(best.searchMs + best.matchMs)} ms** (search ${whole(best.searchMs)}, align ` +
        `${whole(best.matchMs)}); median ${whole(median.searchMs + median.matchMs)} ms.`,
    );
  }
}

async function recallOf(catalogue: OpenSearchCatalogue): Promise<string> {
  const found = (await catalogue.search(checked, neighbours)).map(namesOf);
  return (
    `recall@${RECALL_AT} **${percent(shared(truth, found, RECALL_AT))}** ` +
    `(${percent(shared(truth, found))} within k = ${neighbours}; the nearest ` +
    `${percent(shared(nearestOf(truth), nearestOf(found)))})`
  );
}

/** What all of it is for: which recordings are named, rightly and wrongly. */
async function detectedBy(catalogue: OpenSearchCatalogue): Promise<string> {
  const heard = { right: 0, wrong: 0 };
  for (const [i, { id, track }] of excerpts.entries()) {
    const { found } = await match(embedded[i]!, catalogue);
    if (found.includes(track!.id)) heard.right++;
    else if (found.length > 0) heard.wrong++;
    if (found.some((name) => name !== track!.id)) say(`${id} was taken for ${found}`);
  }
  return (
    `the recording named for **${heard.right}** of ${excerpts.length} excerpts of ten seconds, only another one for ` +
    `${heard.wrong}`
  );
}

async function tellAlarms(catalogue: OpenSearchCatalogue): Promise<void> {
  let alarms = 0;
  for (const [i, windows] of others.entries()) {
    const { found } = await match(windows, catalogue);
    alarms += found.length;
    if (found.length > 0) say(`${protocol.outsiders[i]!.id} was taken for ${found}`);
  }
  tell(
    `- ${hoursOf(others).toFixed(1)} hours of music that is not in the catalogue: ${alarms} recordings named.`,
  );
}

function connect(): Client {
  // Merges and refreshes of a bulk load may take longer than a function would wait.
  return createOpenSearchClient({ url: server.url, auth: { kind: 'none' }, requestTimeoutMs: 300_000 });
}

function catalogueFor(
  encoding: Encoding,
  client: Client,
  settings: Partial<OpenSearchCatalogueSettings> = {},
): OpenSearchCatalogue {
  return new OpenSearchCatalogue(client, {
    modelId: `bench-${encoding}`,
    dimension,
    engine: 'lucene',
    encoder: encoding === 'byte' ? 'byte' : 'none',
    // As for a backfill: fewer and larger graphs.
    refreshInterval: '10s',
    ...settings,
  });
}

/** The adapter's index, but for how the vector is held. */
async function createIndex(client: Client, index: string, alias: string, encoding: 'sq7' | 'on-disk-4x') {
  const { method = {}, ...vector } = { method: {}, ...ENCODINGS[encoding] };
  const parameters = { m: 16, ef_construction: 128, ...method };
  await client.indices.create({
    index,
    body: {
      settings: {
        index: { knn: true, number_of_shards: 1, number_of_replicas: 0, refresh_interval: '10s' },
      },
      mappings: {
        dynamic: 'strict',
        properties: {
          reference: { type: 'keyword' },
          segment: { type: 'integer' },
          vector: {
            type: 'knn_vector',
            dimension,
            ...vector,
            method: { name: 'hnsw', space_type: 'innerproduct', engine: 'lucene', parameters },
          },
        },
      },
      aliases: { [alias]: { is_write_index: true } },
    },
  });
}

/** Every reference by its own call, as functions that register do. */
async function register(encoding: Encoding): Promise<void> {
  const registrars = Array.from({ length: REGISTRARS }, () => catalogueFor(encoding, connect()));
  const counted = counter((text) => say(`${encoding}: ${text}`), 'registered', songs.length);
  let turn = 0;
  await forEachConcurrently(songs, REGISTRARS * 16, async ({ reference, ...segments }) => {
    await registrars[turn++ % REGISTRARS]!.add(reference.referenceId, segments);
    counted();
  });
}

/** What the index weighs: all of it, and what a search touches: the vectors that are compared, and the graph. */
async function contentOf(client: Client, index: string) {
  // What was merged goes when nobody searches in it any more.
  // Just after merging, little of the heap may be free.
  await withRetries(
    () => client.indices.refresh({ index }).catch((error) => Promise.reject(translated(error))),
    isTransient,
  );
  await client.indices.flush({ index, wait_if_ongoing: true });
  const { body } = await client.indices.stats({ index, include_segment_file_sizes: true });
  const { store, segments } = body._all!.primaries as unknown as IndexStats;
  const sizes = Object.entries(segments.file_sizes).map(
    ([extension, { size_in_bytes }]) => [extension, size_in_bytes] as const,
  );
  const sizeOf = (extension: string) => sizes.find(([name]) => name === extension)?.[1] ?? 0;
  return {
    bytes: store.size_in_bytes,
    graphs: segments.count,
    vectors: sizeOf('veq') || sizeOf('vec'),
    links: sizeOf('vex'),
    files: sizes
      .filter(([, size]) => size > SEGMENTS)
      .sort(([, a], [, b]) => b - a)
      .map(([extension, size]) => `${extension} ${whole(size / SEGMENTS)}`)
      .join(', '),
  };
}

interface IndexStats {
  store: { size_in_bytes: number };
  segments: { count: number; file_sizes: Record<string, { size_in_bytes: number }> };
}

function search(catalogue: OpenSearchCatalogue): Promise<Hit[][]> {
  return catalogue.search(queries, neighbours);
}

/** Two uploads of three minutes: distorted pieces of the catalogue, end to end, and music that is not in it. */
async function threeMinutes(): Promise<Record<string, SegmentVectors[]>> {
  const pieces = (await distortedExcerpts(protocol, 1, 30)).slice(0, 6).map(({ path }) => path);
  const other = protocol.outsiders.find(({ seconds }) => seconds >= 180)!;
  return {
    'six excerpts of the catalogue': await embedFiles(pieces, embedder, { windowSegments }),
    'music that is not in it': await embedFiles([other.path], embedder, { windowSegments, seconds: 180 }),
  };
}

/** What a scan does after embedding, with the references in memory. */
async function match(windows: readonly SegmentVectors[], catalogue: OpenSearchCatalogue) {
  const started = performance.now();
  const encoded: Uint8Array[] = [];
  await forEachConcurrently(windows.entries(), concurrentWindows, async ([i, { segments, vectors }]) => {
    const hits = await catalogue.search(vectors, neighbours);
    encoded[i] = encodeWindow({ segments, vectors, hits, undecodable: [] });
  });
  const searched = performance.now();
  const heard = { ...joinWindows(encoded), durationMs: hoursOf([windows]) * 3_600_000, truncated: false };
  const matches = await matchHeard(heard, { embedder, catalogue, references } as unknown as ScanDependencies);
  const matched = performance.now();
  return {
    queries: heard.segments.length,
    found: matches.map(({ reference }) => reference.referenceId),
    searchMs: searched - started,
    matchMs: matched - searched,
  };
}

function hoursOf(uploads: readonly (readonly SegmentVectors[])[]): number {
  const grid = new SegmentGrid(model);
  const lastOf = (windows: readonly SegmentVectors[]) =>
    windows.flatMap(({ segments }) => [...segments]).at(-1) ?? 0;
  return (
    uploads.reduce((sum, windows) => sum + grid.startMs(lastOf(windows)) + grid.segmentMs, 0) / 3_600_000
  );
}

/** The share of the first lists that is in the second ones, or in their first `among`. */
function shared(first: readonly string[][], second: readonly string[][], among?: number): number {
  const found = first.reduce((sum, names, i) => {
    const others = new Set(second[i]!.slice(0, among));
    return sum + names.filter((name) => others.has(name)).length;
  }, 0);
  return found / first.flat().length;
}

function nearestOf(lists: readonly string[][]): string[][] {
  return lists.map((names) => names.slice(0, 1));
}

function namesOf(hits: readonly Hit[]): string[] {
  return hits.map(({ referenceId, segment }) => nameOf(referenceId, segment));
}

function everyNth(rows: Float32Array, n: number): Float32Array {
  const kept: number[] = [];
  for (let start = 0; start < rows.length; start += n * dimension) {
    kept.push(...rows.subarray(start, start + dimension));
  }
  return Float32Array.from(kept);
}

function whole(value: number): string {
  return new Intl.NumberFormat('en', { maximumFractionDigits: 0 }).format(value);
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

function perThousand({ serverSeconds }: Cost): string {
  return `${((serverSeconds * 1000) / queryCount).toFixed(2)} s per 1,000 queries`;
}

function speedOf(cost: Cost): string {
  return `**${whole(queryCount / cost.seconds)} queries a second** (CPU ${perThousand(cost)})`;
}
