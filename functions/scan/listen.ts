import type { ObjectVersion } from '../core/scan.ts';
import { SegmentGrid } from '../core/segment-grid.ts';
import type { PcmBlock } from '../ports/decoder.ts';
import { embedWindow } from '../steps/embed-window.ts';
import { forEachConcurrently } from '../steps/pool.ts';
import { type PcmWindow, windowsOf } from '../steps/windows.ts';
import type { ScanDependencies, ScanRun } from './dependencies.ts';
import type { Tape } from './tape.ts';
import { encodeWindow, joinWindows, type WindowRecord } from './window-record.ts';

/** What was heard of an upload at one speed. Segments count on the pass's own clock, which runs `speed` times longer. */
export interface Heard extends WindowRecord {
  speed: number;
  /** Of the upload, on its own clock. */
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

/** One walk through the upload. The first one hears it as it is; the others play its tape at another speed. */
export interface Pass {
  number: number;
  speed: number;
}

/**
 * Listens to an upload from end to end at one speed: cut into windows, embed, ask the catalogue, store each window
 * before going on. What an earlier run stored is not done again.
 *
 * @param tape records the first pass and plays it to the others
 * @throws OutOfTime when too little time is left; RejectedAudioError as the decoder does
 */
export async function listen(
  scanId: string,
  upload: ObjectVersion,
  pass: Pass,
  tape: Tape,
  deps: ScanDependencies,
  run: ScanRun,
): Promise<Heard> {
  const { embedder, scans, settings } = deps;
  const grid = new SegmentGrid(embedder.model);
  const stored = await storedWindows(scanId, pass, deps);

  const onlyRecord = async (blocks: AsyncIterable<PcmBlock>) => {
    for await (const _ of untilTimeIsShort(blocks, deps, run));
  };
  const hear = async (blocks: AsyncIterable<PcmBlock>, claimedDurationMs?: number) => {
    const windows = windowsOf(blocks, grid, settings.windowSegments, firstMissing(stored.windows));
    await forEachConcurrently(
      untilTimeIsShort(windows, deps, run),
      settings.concurrentWindows,
      async (window) => {
        if (stored.windows.has(window.index)) return;
        const data = encodeWindow(await searchWindow(window, deps));
        await scans.putWindow(scanId, pass.number * WINDOWS_PER_PASS + window.index, data);
        stored.windows.set(window.index, data);
        run.onProgress?.({
          upload,
          heardMs: grid.startMs(window.firstSegment + settings.windowSegments) / pass.speed,
          ...(claimedDurationMs && { claimedDurationMs }),
        });
      },
    );
  };

  if (!stored.end) {
    const startSample = firstMissing(stored.windows) * settings.windowSegments * grid.hopSamples;
    if (pass.number === 0) {
      stored.end = await decodeUpload(upload, startSample, tape, hear, deps, run);
    } else {
      // This run has not heard the beginning: an earlier one did the first pass.
      if (!tape.isRecorded) await decodeUpload(upload, 0, tape, onlyRecord, deps, run);
      await hear(tape.play(pass.speed, startSample));
      stored.end = { durationMs: tape.durationMs, truncated: false };
    }
    const data = Buffer.from(JSON.stringify(stored.end));
    await scans.putWindow(scanId, pass.number * WINDOWS_PER_PASS + END, data);
  }
  return {
    ...joinWindows(inOrder(stored.windows), embedder.model.dimension),
    ...stored.end,
    speed: pass.speed,
  };
}

/** Decodes the upload from `startSample` on; the tape keeps it if that is its beginning. */
function decodeUpload(
  upload: ObjectVersion,
  startSample: number,
  tape: Tape,
  hear: (blocks: AsyncIterable<PcmBlock>, claimedDurationMs?: number) => Promise<void>,
  deps: ScanDependencies,
  run: ScanRun,
): Promise<PassEnd> {
  return deps.objects.withFile(upload, async (path) => {
    const { sampleRate } = deps.embedder.model;
    const { signal } = run;
    const audio = await deps.decoder.open(path, { sampleRate, startSample, ...(signal && { signal }) });
    const blocks = startSample === 0 ? tape.record(audio.blocks) : audio.blocks;
    await hear(blocks, audio.info.claimedDurationMs);
    const { durationMs, truncated } = await audio.summary;
    return { durationMs, truncated };
  });
}

/** What was stored of a pass before it broke off; for a verdict on a file that cannot be read to its end. */
export async function heardSoFar(scanId: string, pass: Pass, deps: ScanDependencies): Promise<Heard> {
  const { model } = deps.embedder;
  const { windows } = await storedWindows(scanId, pass, deps);
  const joined = joinWindows(inOrder(windows), model.dimension);
  const grid = new SegmentGrid(model);
  const last = joined.segments.at(-1);
  const durationMs = last === undefined ? 0 : (grid.startMs(last) + grid.segmentMs) / pass.speed;
  return { ...joined, speed: pass.speed, durationMs, truncated: true };
}

async function searchWindow(window: PcmWindow, deps: ScanDependencies): Promise<WindowRecord> {
  const { segments, vectors } = await embedWindow(window, deps.embedder);
  const hits = segments.length === 0 ? [] : await deps.catalogue.search(vectors, deps.settings.neighbours);
  return { segments, vectors, hits, undecodable: window.undecodable };
}

/** The windows of a pass that are stored, encoded, and its end if it was heard through. */
async function storedWindows(scanId: string, { number }: Pass, { scans }: ScanDependencies) {
  const windows = new Map<number, Uint8Array>();
  let end: PassEnd | undefined;
  for await (const { window, data } of scans.windows(scanId)) {
    if (Math.floor(window / WINDOWS_PER_PASS) !== number) continue;
    const index = window % WINDOWS_PER_PASS;
    if (index === END) end = JSON.parse(Buffer.from(data).toString()) as PassEnd;
    else windows.set(index, data);
  }
  return { windows, end } as { windows: Map<number, Uint8Array>; end: PassEnd | undefined };
}

const inOrder = (windows: ReadonlyMap<number, Uint8Array>): Uint8Array[] =>
  [...windows].sort(([a], [b]) => a - b).map(([, data]) => data);

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
