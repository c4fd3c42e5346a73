import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { deserialize, serialize } from 'node:v8';
import { type BatchMatches, Index as Graph } from 'usearch';
import { coarseToFine } from '../../functions/core/alignment/coarse-to-fine.ts';
import type { UploadSegments } from '../../functions/core/alignment/index.ts';
import { SegmentGrid } from '../../functions/core/segment-grid.ts';
import {
  type Hit,
  hitColumns,
  hitRows,
  QUANTISED_ONE,
  type QuantisedVectors,
  quantise,
  type SegmentVectors,
} from '../../functions/core/segments.ts';
import type { Embedder } from '../../functions/ports/embedder.ts';
import { DEFAULT_SCAN_SETTINGS } from '../../functions/scan/dependencies.ts';
import { embedWindow } from '../../functions/steps/embed-window.ts';
import { windowsOf } from '../../functions/steps/windows.ts';
import { graphOf } from '../../local/store/shard.ts';
import { CACHE, cachedFile, fromInt16, run } from '../accuracy/audio.ts';
import { CONDITIONS } from '../accuracy/conditions.ts';
import { drawNegatives, drawRecipes, type Query, type Recipe, render } from '../accuracy/render.ts';
import { protocolOf, type Track } from '../accuracy/split.ts';

// What calibration looks at: validation music, distorted, asked of a catalogue that holds it (positives) and of one
// that does not (negatives). The two halves of the validation music take turns in being registered.

/** One query as the matching stage sees it. */
export interface Case {
  id: string;
  condition: string;
  seconds: number;
  /** The reference it was cut from; absent for speech, noise and whatever is in neither catalogue. */
  track?: string;
  pieces: Query['pieces'];
  /** What was heard, and how many times as fast as the file is. */
  audio: { path: string; speed: number };
  /** Answers of the catalogue that holds the track, where one does. */
  positive?: UploadSegments;
  /** Answers of the other catalogue, which does not. */
  negative?: UploadSegments;
  /** The catalogues that gave them. */
  asked: { positive?: Index; negative: Index };
}

export interface Collected {
  grid: SegmentGrid;
  /** Stored vectors of every reference, as the catalogue would return them. */
  stored: Map<string, QuantisedVectors>;
  /** Where the recording of each reference lies. */
  paths: Map<string, string>;
  cases: Case[];
}

const nameOf = (text: string) => createHash('sha256').update(text).digest('hex').slice(0, 24);
const NEIGHBOURS = DEFAULT_SCAN_SETTINGS.neighbours;
const WINDOW_SEGMENTS = 240;
const NEGATIVE_SPEEDS = [1, 0.87, 0.94, 1.08, 1.18];

/** Renders, embeds and searches; whatever was done for this model before is taken from the cache. */
export async function collect(
  embedder: Embedder,
  perCondition: number,
  negatives: number,
  say: (line: string) => void,
  stride = DEFAULT_SCAN_SETTINGS.stride,
): Promise<Collected> {
  const { model } = embedder;
  const grid = new SegmentGrid(model);
  const folder = join(CACHE, 'calibrate', model.sha256.slice(0, 16));
  await mkdir(folder, { recursive: true });
  const { insiders, outsiders, distractors } = await protocolOf('validation');

  const embedded = (path: string, speed = 1): Promise<QuantisedVectors> =>
    cached(join(folder, 'vectors', nameOf(speed === 1 ? path : `${path} ${speed}`)), async () => {
      const { segments, vectors } = await embedFile(path, speed, embedder, grid);
      return { segments, vectors: quantise(vectors) };
    });

  const stored = new Map<string, QuantisedVectors>();
  const paths = new Map<string, string>();
  for (const [i, track] of [...insiders, ...outsiders, ...distractors].entries()) {
    paths.set(track.id, track.path);
    stored.set(track.id, await embedded(track.path));
    if (i % 50 === 0) say(`embedded ${i} tracks`);
  }
  const halves = [insiders, outsiders].map((half) => ({
    tracks: half,
    ids: new Set(half.map(({ id }) => id)),
    index: new Index([...half, ...distractors], stored, model.dimension),
  }));
  say(`indexed ${halves.map(({ index }) => index.size).join(' and ')} segments`);

  const cases: Case[] = [];
  const ask = async (recipe: Recipe) => {
    for (const query of await render(recipe)) {
      const heard = await embedded(query.path);
      const { id, condition, seconds, pieces } = query;
      const home = halves.find(({ ids }) => query.track && ids.has(query.track.id));
      const away = halves.find((half) => half !== home)!;
      const searched = (index: Index) =>
        cached(
          join(folder, 'near', nameOf(`${query.path} ${away === halves[0]} ${index === away.index}`)),
          async () => ({ ...heard, hits: hitColumns(index.search(restored(heard.vectors))) }),
        );
      cases.push({
        id,
        condition,
        seconds,
        pieces: home ? pieces : [],
        audio: { path: query.path, speed: 1 },
        asked: { ...(home && { positive: home.index }), negative: away.index },
        ...(query.track && { track: query.track.id }),
        ...(home && { positive: await asScanned(await searched(home.index), grid, stride) }),
        negative: await asScanned(await searched(away.index), grid, stride),
      });
    }
  };
  for (const condition of CONDITIONS) {
    const recipes = await drawRecipes(
      condition,
      [...insiders, ...outsiders].sort(byId),
      perCondition,
      'validation',
      'calibration',
    );
    for (const recipe of recipes) await ask(recipe);
    say(`${condition.title}: ${cases.length} queries so far`);
  }
  for (const recipe of await drawNegatives(outsiders, negatives, 'validation')) {
    if (recipe.source.kind !== 'track') await ask(recipe);
  }
  // Whole tracks that are not in the catalogue, also played slower and faster: many hours of other music.
  for (const { tracks, index } of halves) {
    const other = halves.find((half) => half.index !== index)!;
    for (const track of tracks) {
      for (const speed of NEGATIVE_SPEEDS) {
        const heard = speed === 1 ? stored.get(track.id)! : await embedded(track.path, speed);
        const id = speed === 1 ? `whole/${track.id}` : `whole/${speed}/${track.id}`;
        cases.push({
          id,
          condition: 'whole',
          seconds: track.seconds / speed,
          track: track.id,
          pieces: [],
          audio: { path: track.path, speed },
          asked: { negative: other.index },
          negative: await asScanned(
            await cached(join(folder, 'near', nameOf(id)), async () => ({
              ...heard,
              hits: hitColumns(other.index.search(restored(heard.vectors))),
            })),
            grid,
            stride,
          ),
        });
      }
    }
    say(`${cases.length} queries and whole tracks`);
  }
  return { grid, stored, paths, cases };
}

/** Leaves out the hits that a scan would not have asked for, window by window. */
export async function asScanned(
  heard: UploadSegments,
  grid: SegmentGrid,
  stride: number,
): Promise<UploadSegments> {
  const { windowSegments } = DEFAULT_SCAN_SETTINGS;
  const { segments } = heard;
  const all = hitRows(heard.hits);
  const windowOf = (row: number) => Math.floor(segments[row]! / windowSegments);
  const hits: Hit[][] = [];
  for (let from = 0, to = 0; from < segments.length; from = to) {
    while (to < segments.length && windowOf(to) === windowOf(from)) to++;
    const first = from;
    const search = async (rows: readonly number[]) => rows.map((row) => all[first + row]!);
    hits.push(...(await coarseToFine(segments.subarray(from, to), grid, stride, search)));
  }
  return { ...heard, hits: hitColumns(hits) };
}

const byId = (a: Track, b: Track) => (a.id < b.id ? -1 : 1);

async function embedFile(
  path: string,
  speed: number,
  embedder: Embedder,
  grid: SegmentGrid,
): Promise<SegmentVectors> {
  const pcm = await decoded(path, Math.round(grid.sampleRate / speed));
  const parts: SegmentVectors[] = [];
  async function* blocks() {
    yield { startSample: 0, pcm };
  }
  for await (const window of windowsOf(blocks(), grid, WINDOW_SEGMENTS)) {
    if (window.pcm.length > 0) parts.push(await embedWindow(window, embedder));
  }
  return {
    segments: Uint32Array.from(parts.flatMap(({ segments }) => [...segments])),
    vectors: joined(parts.map(({ vectors }) => vectors)),
  };
}

/** Mono PCM; kept as 16 bit, because the next model will want it again. */
async function decoded(path: string, rate: number): Promise<Float32Array> {
  const file = join(CACHE, 'calibrate', 'pcm', `${nameOf(`${path} ${rate}`)}.s16`);
  await cachedFile(file, () =>
    run('ffmpeg', [
      '-v',
      'error',
      '-nostdin',
      '-i',
      path,
      '-vn',
      '-f',
      's16le',
      '-ar',
      String(rate),
      '-ac',
      '1',
      'pipe:1',
    ]),
  );
  return fromInt16(await readFile(file));
}

function joined(parts: Float32Array[]): Float32Array {
  const out = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

const restored = (vectors: Int8Array): Float32Array =>
  Float32Array.from(vectors, (value) => value / QUANTISED_ONE);

async function cached<T>(path: string, make: () => Promise<T>): Promise<T> {
  if (existsSync(path)) return deserialize(await readFile(path)) as T;
  const value = await make();
  await mkdir(join(path, '..'), { recursive: true });
  await writeFile(`${path}.part`, serialize(value));
  await rename(`${path}.part`, path);
  return value;
}

/** A catalogue in memory, as the local one is built. */
class Index {
  private readonly index: Graph;
  private readonly owner: { referenceId: string; segment: number }[] = [];
  private readonly dimension: number;

  constructor(tracks: readonly Track[], stored: ReadonlyMap<string, QuantisedVectors>, dimension: number) {
    this.dimension = dimension;
    this.index = new Graph(graphOf(dimension));
    for (const { id } of tracks) {
      const { segments, vectors } = stored.get(id)!;
      if (segments.length === 0) continue;
      const first = this.owner.length;
      this.index.add(
        BigUint64Array.from(segments, (_, row) => BigInt(first + row)),
        restored(vectors),
        2,
      );
      for (const segment of segments) this.owner.push({ referenceId: id, segment });
    }
  }

  get size(): number {
    return this.owner.length;
  }

  /** @param queries `n * dimension` values */
  search(queries: Float32Array): Hit[][] {
    const rows = queries.length / this.dimension;
    if (rows === 0) return [];
    const { keys, distances, counts } = this.index.search(queries, NEIGHBOURS, 2) as BatchMatches;
    return Array.from({ length: rows }, (_, row) =>
      Array.from({ length: Number(counts[row]) }, (_, i) => ({
        ...this.owner[Number(keys[row * NEIGHBOURS + i])]!,
        similarity: 1 - distances[row * NEIGHBOURS + i]!,
      })),
    );
  }
}
