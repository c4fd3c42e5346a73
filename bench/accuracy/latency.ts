import { Stretch } from '../../functions/core/alignment/other-speeds.ts';
import { median, quantile } from '../../functions/core/alignment/quantile.ts';
import type { Reference } from '../../functions/core/reference.ts';
import { SegmentGrid } from '../../functions/core/segment-grid.ts';
import { DEFAULT_SCAN_SETTINGS } from '../../functions/scan/dependencies.ts';
import type { Reopen } from '../../functions/scan/hear-again.ts';
import { matchHeard } from '../../functions/scan/match.ts';
import { encodeWindow, joinWindows } from '../../functions/scan/window-record.ts';
import { embedWindow } from '../../functions/steps/embed-window.ts';
import { readStretch } from '../../functions/steps/read-stretch.ts';
import { localDecoder } from '../../local/decoder.ts';
import type { Runtime } from '../../local/runtime.ts';
import { run } from './audio.ts';

/** Milliseconds of one query after decoding: embed, search, match. */
export interface Latency {
  embed: number;
  search: number;
  match: number;
}

/** Of the whole its median and 95th percentile, of the parts their medians; milliseconds. */
export interface LatencySummary extends Latency {
  median: number;
  p95: number;
}

/** Times files one after the other, the first few twice: nobody else should be at work. */
export async function latenciesOf(paths: readonly string[], runtime: Runtime): Promise<LatencySummary> {
  for (const path of paths.slice(0, 5)) await latencyOf(path, runtime);
  const all: Latency[] = [];
  for (const path of paths) all.push(await latencyOf(path, runtime));
  const totals = all.map(({ embed, search, match }) => embed + search + match);
  return {
    median: median(totals),
    p95: quantile(totals, 0.95),
    embed: median(all.map(({ embed }) => embed)),
    search: median(all.map(({ search }) => search)),
    match: median(all.map(({ match }) => match)),
  };
}

/** Times the three steps of a scan on one file, PCM in memory; a second hearing counts as matching, without decoding the recordings. Meant for short queries: one window. */
async function latencyOf(path: string, runtime: Runtime): Promise<Latency> {
  const embedder = runtime.model;
  const { model } = embedder;
  const grid = new SegmentGrid(model);
  const all = await decodedAt(model.sampleRate, path);
  const finer = await decodedAt(Stretch.OVERSAMPLING * model.sampleRate, path);
  const pcm = all.subarray(0, grid.samplesFor(grid.segmentsIn(all.length)));
  const catalogue = runtime.store.catalogue(model);
  const { references } = runtime.store;
  const deps = { embedder, catalogue, references, settings: DEFAULT_SCAN_SETTINGS, log: console };

  const started = performance.now();
  const { segments, vectors } = await embedWindow(
    { index: 0, firstSegment: 0, pcm, undecodable: [] },
    embedder,
  );
  const embedded = performance.now();
  const hits = segments.length === 0 ? [] : await catalogue.search(vectors, DEFAULT_SCAN_SETTINGS.neighbours);
  const searched = performance.now();
  const durationMs = (all.length * 1000) / model.sampleRate;
  const window = encodeWindow({ segments, vectors, hits, undecodable: [] });
  let decoding = 0;
  const recording =
    ({ source }: Reference): Reopen =>
    (use) =>
      use(async (fromMs, toMs, rate) => {
        const before = performance.now();
        const heard = await readStretch(decoder, source.key, fromMs, toMs, rate);
        decoding += performance.now() - before;
        return heard;
      });
  await matchHeard({ ...joinWindows([window]), durationMs, truncated: false }, deps, {
    upload: (use) =>
      use(async (fromMs, toMs, rate) => finer.subarray((fromMs * rate) / 1000, (toMs * rate) / 1000)),
    recording,
  });
  const matched = performance.now();
  return { embed: embedded - started, search: searched - embedded, match: matched - searched - decoding };
}

const decoder = await localDecoder();

async function decodedAt(rate: number, path: string): Promise<Float32Array> {
  const raw = ['-f', 'f32le', '-ar', String(rate), '-ac', '1', 'pipe:1'];
  const bytes = await run('ffmpeg', ['-v', 'error', '-nostdin', '-i', path, ...raw]);
  return new Float32Array(new Uint8Array(bytes).buffer);
}
