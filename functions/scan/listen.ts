import type { ObjectVersion } from '../core/scan.ts';
import { SegmentGrid } from '../core/segment-grid.ts';
import type { TimeSpan } from '../core/span.ts';
import { embedWindow } from '../steps/embed-window.ts';
import { forEachConcurrently } from '../steps/pool.ts';
import { type PcmWindow, windowsOf } from '../steps/windows.ts';
import type { ScanDependencies, ScanRun } from './dependencies.ts';
import { decodeWindow, encodeWindow, joinWindows, type WindowRecord } from './window-record.ts';

/** What was heard of an upload at one speed. Segments count on the pass's own clock, which runs `speed` times longer. */
export interface Heard extends WindowRecord {
  speed: number;
  /** On the upload's clock. */
  durationMs: number;
  truncated: boolean;
}

/** Thrown when the run must end before the upload does; every finished window is stored. */
export class OutOfTime extends Error {}

/** Windows of all passes share one number line: pass `p` starts at `p * WINDOWS_PER_PASS`. */
const WINDOWS_PER_PASS = 100_000;
/** The last number of a pass holds its end: that the file was heard through, and how long it is. */
const END = WINDOWS_PER_PASS - 1;

type PassEnd = { durationMs: number; truncated: boolean };

/**
 * Listens to an upload from end to end at one speed: decode, cut into windows, embed, ask the catalogue, store each
 * window before going on. What an earlier run stored is not done again.
 *
 * Asking at another speed costs no resampler of our own: the decoder is told a rate that is `speed` times the
 * model's, which slows the upload down by that factor.
 *
 * @throws OutOfTime when too little time is left; RejectedAudioError as the decoder does
 */
export async function listen(
  scanId: string,
  upload: ObjectVersion,
  pass: { number: number; speed: number },
  deps: ScanDependencies,
  run: ScanRun,
): Promise<Heard> {
  const { embedder, objects, decoder, scans, settings } = deps;
  const grid = new SegmentGrid(embedder.model);
  const stored = await storedWindows(scanId, pass.number, deps);

  if (!stored.end) {
    const startWindow = firstMissing(stored.windows);
    const rate = Math.round(grid.sampleRate * pass.speed);
    await objects.withFile(upload, async (path) => {
      const audio = await decoder.open(path, {
        sampleRate: rate,
        startSample: startWindow * settings.windowSegments * grid.hopSamples,
        ...(run.signal && { signal: run.signal }),
      });
      const windows = untilTimeIsShort(
        windowsOf(audio.blocks, grid, settings.windowSegments, startWindow),
        deps,
        run,
      );
      await forEachConcurrently(windows, settings.concurrentWindows, async (window) => {
        if (stored.windows.has(window.index)) return;
        const record = await searchWindow(window, deps);
        const data = encodeWindow(record);
        await scans.putWindow(scanId, pass.number * WINDOWS_PER_PASS + window.index, data);
        // As a later run would read it: a scan that was broken off gives the very same verdict.
        stored.windows.set(window.index, decodeWindow(data));
        run.onProgress?.({
          upload,
          heardMs: grid.startMs(window.firstSegment + settings.windowSegments) / pass.speed,
          ...(audio.info.claimedDurationMs && { claimedDurationMs: audio.info.claimedDurationMs }),
        });
      });
      const { durationMs, truncated } = await audio.summary;
      stored.end = { durationMs, truncated };
      await scans.putWindow(
        scanId,
        pass.number * WINDOWS_PER_PASS + END,
        Buffer.from(JSON.stringify(stored.end)),
      );
    });
  }

  const inOrder = [...stored.windows].sort(([a], [b]) => a - b).map(([, record]) => record);
  return { ...joinWindows(inOrder, embedder.model.dimension), ...stored.end!, speed: pass.speed };
}

/** What was stored of a pass before it broke off; for a verdict on a file that cannot be read to its end. */
export async function heardSoFar(
  scanId: string,
  pass: { number: number; speed: number },
  deps: ScanDependencies,
): Promise<Heard> {
  const { windows } = await storedWindows(scanId, pass.number, deps);
  const inOrder = [...windows].sort(([a], [b]) => a - b).map(([, record]) => record);
  const joined = joinWindows(inOrder, deps.embedder.model.dimension);
  const grid = new SegmentGrid(deps.embedder.model);
  const last = joined.segments.at(-1);
  const durationMs = last === undefined ? 0 : (grid.startMs(last) + grid.segmentMs) / pass.speed;
  return { ...joined, speed: pass.speed, durationMs, truncated: true };
}

async function searchWindow(window: PcmWindow, deps: ScanDependencies): Promise<WindowRecord> {
  const undecodable: TimeSpan[] = window.undecodable;
  const { segments, vectors } = await embedWindow(window, deps.embedder);
  const hits = segments.length === 0 ? [] : await deps.catalogue.search(vectors, deps.settings.neighbours);
  return { segments, vectors, hits, undecodable };
}

async function storedWindows(scanId: string, pass: number, { scans }: ScanDependencies) {
  const windows = new Map<number, WindowRecord>();
  let end: PassEnd | undefined;
  for await (const { window, data } of scans.windows(scanId)) {
    if (Math.floor(window / WINDOWS_PER_PASS) !== pass) continue;
    const index = window % WINDOWS_PER_PASS;
    if (index === END) end = JSON.parse(Buffer.from(data).toString()) as PassEnd;
    else windows.set(index, decodeWindow(data));
  }
  return { windows, end } as { windows: Map<number, WindowRecord>; end: PassEnd | undefined };
}

function firstMissing(windows: ReadonlyMap<number, unknown>): number {
  let index = 0;
  while (windows.has(index)) index++;
  return index;
}

async function* untilTimeIsShort<T>(items: AsyncIterable<T>, deps: ScanDependencies, run: ScanRun) {
  for await (const item of items) {
    run.signal?.throwIfAborted();
    if (run.remainingMs() < deps.settings.reserveMs) throw new OutOfTime();
    yield item;
  }
}
