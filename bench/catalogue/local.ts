/**
 * The local catalogue at the size of a small label: how long it takes to fill, what it weighs, how fast and how well
 * it finds. `node bench/catalogue/local.ts [hours]`
 *
 * The vectors are drawn, not heard: tracks of seven minutes at most, each with a style, six motifs that come back, and a
 * slow walk, which makes neighbourhoods like those of music but harder ones (all 128 dimensions carry noise).
 */
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { quantise } from '../../functions/core/segments.ts';
import { openStore } from '../../local/adapters/store.ts';
import { searchExactly } from '../../local/store/shard.ts';

const HOURS = Number(process.argv[2] ?? 31);
const DIMENSION = 128;
const SEGMENTS_PER_HOUR = 7200;
const TRACK = 420;
const QUERIES = 40;

let state = 12345;
const random = () => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return state / 2 ** 32;
};
const gaussian = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
const gaussians = () => Float32Array.from({ length: DIMENSION }, gaussian);

function scaleToUnit(vector: Float32Array): void {
  const length = Math.sqrt(vector.reduce((sum, x) => sum + x * x, 0));
  for (let i = 0; i < vector.length; i++) vector[i]! /= length;
}

function track(): Float32Array {
  const vectors = new Float32Array(TRACK * DIMENSION);
  const style = gaussians();
  const motifs = Array.from({ length: 6 }, gaussians);
  const walk = gaussians();
  for (let row = 0; row < TRACK; row++) {
    const vector = vectors.subarray(row * DIMENSION, (row + 1) * DIMENSION);
    const motif = motifs[Math.floor(row / 35) % motifs.length]!;
    for (let i = 0; i < DIMENSION; i++) {
      walk[i] = 0.7 * walk[i]! + 0.714 * gaussian();
      vector[i] = 0.5 * style[i]! + 0.6 * motif[i]! + 0.9 * walk[i]!;
    }
    scaleToUnit(vector);
  }
  return vectors;
}

function noisy(vector: Float32Array, noise: number): Float32Array {
  const query = vector.map((x) => x + (noise * gaussian()) / Math.sqrt(DIMENSION));
  scaleToUnit(query);
  return query;
}

/** Wall-clock and processor time, ms. */
async function timed<T>(work: () => Promise<T>): Promise<{ result: T; ms: number; cpuMs: number }> {
  const start = performance.now();
  const cpu = process.cpuUsage();
  const result = await work();
  const used = process.cpuUsage(cpu);
  return { result, ms: performance.now() - start, cpuMs: (used.user + used.system) / 1000 };
}

const sizeOf = (folder: string): number =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0);

const print = (what: string, value: string) => console.log(what.padEnd(34), value);

const folder = mkdtempSync(join(tmpdir(), 'refrain-bench-'));
const model = { id: 'bench', dimension: DIMENSION };
const tracks = Array.from({ length: Math.round((HOURS * SEGMENTS_PER_HOUR) / TRACK) }, track);
const segments = Uint32Array.from({ length: TRACK }, (_, i) => i);
const rows = tracks.length * TRACK;
print('segments', `${rows} (${HOURS} h)`);

const writer = await openStore(folder, { mode: 'write' });
const fill = await timed(async () => {
  for (const [i, vectors] of tracks.entries())
    await writer.catalogue(model).add(`track-${i}`, { segments, vectors });
  await writer.close();
});
print('add and index', `${(fill.ms / 1000).toFixed(1)} s (processor ${(fill.cpuMs / 1000).toFixed(1)} s)`);

const hours = rows / SEGMENTS_PER_HOUR;
print('refrain.db', `${(statSync(join(folder, 'refrain.db')).size / 1e6 / hours).toFixed(3)} MB per hour`);
print('index', `${(sizeOf(join(folder, 'index')) / 1e6 / hours).toFixed(3)} MB per hour`);
print('together', `${(sizeOf(folder) / 1e6 / hours).toFixed(3)} MB per hour`);

const store = await openStore(folder, { mode: 'read' });
const catalogue = store.catalogue(model);
const first = await timed(() => catalogue.search(tracks[0]!.slice(0, DIMENSION), 1));
print('open, with the first search', `${first.ms.toFixed(0)} ms (processor ${first.cpuMs.toFixed(0)} ms)`);

const all = new Int8Array(rows * DIMENSION);
for (const [i, vectors] of tracks.entries()) {
  all.set(quantise(vectors), i * TRACK * DIMENSION);
}
for (const noise of [0.5, 0.75, 1]) {
  const found = { near: 0, best: 0 };
  const times: { ms: number; cpuMs: number }[] = [];
  for (let batch = 0; batch < 8; batch++) {
    const queries = new Float32Array(QUERIES * DIMENSION);
    for (let i = 0; i < QUERIES; i++) {
      const source = tracks[Math.floor(random() * tracks.length)]!;
      const row = Math.floor(random() * TRACK);
      queries.set(noisy(source.slice(row * DIMENSION, (row + 1) * DIMENSION), noise), i * DIMENSION);
    }
    const quantised = quantise(queries);
    const exact = searchExactly(all, quantised, 10, DIMENSION);
    const { result, ...time } = await timed(() => catalogue.search(queries, 20));
    times.push(time);
    for (const [i, hits] of result.entries()) {
      const names = new Set(hits.map((hit) => Number(hit.referenceId.slice(6)) * TRACK + hit.segment));
      found.near += exact[i]!.rows.filter((row) => names.has(row)).length / 10;
      found.best += names.has(exact[i]!.rows[0]!) ? 1 : 0;
    }
  }
  times.sort((a, b) => a.ms - b.ms);
  const { ms, cpuMs } = times[times.length >> 1]!;
  const cosine = (1 / Math.hypot(1, noise)).toFixed(2);
  const share = (count: number) => (count / (8 * QUERIES)).toFixed(4);
  print(
    `${QUERIES} queries at cosine ${cosine}, k = 20`,
    `${ms.toFixed(1)} ms (processor ${cpuMs.toFixed(1)} ms), recall@10 ${share(found.near)}, @1 ${share(found.best)}`,
  );
}
await store.close();
rmSync(folder, { recursive: true });
