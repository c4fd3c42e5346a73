import { deserialize, serialize } from 'node:v8';
import { coarseToFine } from '../core/alignment/coarse-to-fine.ts';
import type { MatchedSpan } from '../core/alignment/index.ts';
import type { ObjectVersion } from '../core/scan.ts';
import { SegmentGrid } from '../core/segment-grid.ts';
import type { Hit, SegmentVectors } from '../core/segments.ts';
import { embedWindow } from '../steps/embed-window.ts';
import { forEachConcurrently } from '../steps/pool.ts';
import { type PcmWindow, windowsOf } from '../steps/windows.ts';
import type { ScanDependencies, ScanRun } from './dependencies.ts';
import { encodeWindow, type HeardWindow, joinWindows, type WindowRecord } from './window-record.ts';

/** What was heard of an upload. */
export interface Heard extends WindowRecord {
  durationMs: number;
  truncated: boolean;
  /** All that could be a match, sure or not, if an earlier run came that far. */
  possible?: MatchedSpan[];
}

/** Thrown when the run must end before the upload does; every finished window is stored. */
export class OutOfTime extends Error {}

/** Behind all windows lies the end of the upload: that it was heard through, and how long it is. */
const END = 0xffff_ffff;
/** ... and what could be a match in it, if that has to wait for another run to be heard again. */
const POSSIBLE = END - 1;

/** What could be a match is found in one run, so there must be time for it; it goes at twice this speed (`npm run bench:speed`). */
const MATCHING_SPEED = 1000;

type End = Pick<Heard, 'durationMs' | 'truncated'>;

/**
 * Listens to an upload from end to end: decode, cut into windows, embed, ask the catalogue, store each window before
 * going on. What an earlier run stored is not done again.
 *
 * @throws OutOfTime when too little time is left; RejectedAudioError as the decoder does
 */
export async function listen(
  scanId: string,
  upload: ObjectVersion,
  deps: ScanDependencies,
  run: ScanRun,
): Promise<Heard> {
  const { embedder, objects, decoder, scans, settings } = deps;
  const grid = new SegmentGrid(embedder.model);
  const stored = await storedWindows(scanId, deps);

  if (!stored.end) {
    const startWindow = firstMissing(stored.windows);
    const stride = await strideIn(deps);
    stored.end = await objects.withFile(upload, async (path) => {
      const audio = await decoder.open(path, {
        sampleRate: grid.sampleRate,
        startSample: startWindow * settings.windowSegments * grid.hopSamples,
        ...(run.signal && { signal: run.signal }),
      });
      const windows = windowsOf(audio.blocks, grid, settings.windowSegments, startWindow);
      await forEachConcurrently(
        untilTimeIsShort(windows, deps, run),
        settings.concurrentWindows,
        async (window) => {
          if (stored.windows.has(window.index)) return;
          const data = encodeWindow(await searchWindow(window, stride, deps));
          await scans.putWindow(scanId, window.index, data);
          stored.windows.set(window.index, data);
          run.onProgress?.({
            upload,
            heardMs: grid.startMs(window.firstSegment) + (window.pcm.length * 1000) / grid.sampleRate,
            ...(audio.info.claimedDurationMs && { claimedDurationMs: audio.info.claimedDurationMs }),
          });
        },
      );
      const { durationMs, truncated } = await audio.summary;
      return { durationMs, truncated };
    });
    await scans.putWindow(scanId, END, Buffer.from(JSON.stringify(stored.end)));
    // A later run finds all of this done, and has all of its time for the matching.
    if (run.remainingMs() < settings.reserveMs + stored.end.durationMs / MATCHING_SPEED)
      throw new OutOfTime();
  }
  const { windows, end, possible } = stored;
  return { ...joinWindows(inOrder(windows)), ...end, ...(possible && { possible }) };
}

/** What is in doubt is heard again in this time, ms; how much that is does not depend on the length of the upload. */
const HEARING_AGAIN_MS = 20_000;

/**
 * Leaves the second hearing of what could be a match to the next run, if this one may not come to its end.
 *
 * @throws OutOfTime when too little time is left; what could be a match is stored
 */
export async function pauseIfLate(
  scanId: string,
  possible: readonly MatchedSpan[],
  { scans, settings }: Pick<ScanDependencies, 'scans' | 'settings'>,
  run: ScanRun,
): Promise<void> {
  if (run.remainingMs() >= settings.reserveMs + HEARING_AGAIN_MS) return;
  await scans.putWindow(scanId, POSSIBLE, serialize(possible));
  throw new OutOfTime();
}

/** What was stored before the upload broke off; for a verdict on a file that cannot be read to its end. */
export async function heardSoFar(scanId: string, deps: ScanDependencies): Promise<Heard> {
  const { windows } = await storedWindows(scanId, deps);
  const joined = joinWindows(inOrder(windows));
  const grid = new SegmentGrid(deps.embedder.model);
  const last = joined.segments.at(-1);
  const durationMs = last === undefined ? 0 : grid.startMs(last) + grid.segmentMs;
  return { ...joined, durationMs, truncated: true };
}

type SearchDependencies = Pick<ScanDependencies, 'embedder' | 'catalogue' | 'settings'>;

/** Among few recordings, chance gives each of them many hits, and a few rows do not tell it from a match. */
export async function strideIn({ catalogue, settings }: SearchDependencies): Promise<number> {
  const { segments } = await catalogue.stats();
  return segments < settings.strideFrom ? 1 : settings.stride;
}

async function searchWindow(window: PcmWindow, stride: number, deps: ScanDependencies): Promise<HeardWindow> {
  const embedded = await embedWindow(window, deps.embedder);
  return { ...embedded, hits: await hitsOf(embedded, stride, deps), undecodable: window.undecodable };
}

/** Asks the catalogue for the segments of a window, or for those of them that will do. */
export function hitsOf(
  { segments, vectors }: SegmentVectors,
  stride: number,
  { embedder, catalogue, settings }: SearchDependencies,
): Promise<Hit[][]> {
  const { model } = embedder;
  return coarseToFine(segments, new SegmentGrid(model), stride, (rows) =>
    catalogue.search(rowsOf(vectors, rows, model.dimension), settings.neighbours),
  );
}

function rowsOf(vectors: Float32Array, rows: readonly number[], dimension: number): Float32Array {
  const chosen = new Float32Array(rows.length * dimension);
  rows.forEach((row, i) => {
    chosen.set(vectors.subarray(row * dimension, (row + 1) * dimension), i * dimension);
  });
  return chosen;
}

/** The windows that are stored, encoded; the end of the upload if it was heard through; and what could be a match in it. */
async function storedWindows(scanId: string, { scans }: ScanDependencies) {
  const windows = new Map<number, Uint8Array>();
  let end: End | undefined;
  let possible: MatchedSpan[] | undefined;
  for await (const { window, data } of scans.windows(scanId)) {
    if (window === END) end = JSON.parse(Buffer.from(data).toString()) as End;
    else if (window === POSSIBLE) possible = deserialize(data) as MatchedSpan[];
    else windows.set(window, data);
  }
  return { windows, end, possible };
}

const inOrder = (windows: ReadonlyMap<number, Uint8Array>): Uint8Array[] =>
  [...windows].sort(([a], [b]) => a - b).map(([, data]) => data);

function firstMissing(windows: ReadonlyMap<number, unknown>): number {
  let index = 0;
  while (windows.has(index)) index++;
  return index;
}

/** One item at least, however little time there is: runs that hand over what they did not touch would do so for ever. */
async function* untilTimeIsShort<T>(items: AsyncIterable<T>, deps: ScanDependencies, run: ScanRun) {
  let touched = false;
  for await (const item of items) {
    run.signal?.throwIfAborted();
    const isShort = run.remainingMs() < deps.settings.reserveMs;
    if (touched && isShort) throw new OutOfTime();
    touched = true;
    yield item;
  }
}
