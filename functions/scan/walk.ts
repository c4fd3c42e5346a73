import { ObjectNotFoundError, RejectedAudioError } from '../core/errors.ts';
import { scanIdOf } from '../core/ids.ts';
import type { ObjectVersion, Reason, ScanRecord } from '../core/scan.ts';
import { SegmentGrid } from '../core/segment-grid.ts';
import { detectionOf, type Listened, sumUp, verdictOf } from '../core/verdict.ts';
import { readStretch } from '../steps/read-stretch.ts';
import { announce } from './announce.ts';
import type { ScanDependencies, ScanRun } from './dependencies.ts';
import type { Reopen } from './hear-again.ts';
import { type Heard, heardSoFar, listen, OutOfTime, pauseIfLate } from './listen.ts';
import { type Match, matchHeard } from './match.ts';

/**
 * How an invocation ended for one upload.
 * - `done`: there is a verdict, and everybody who must know was told.
 * - `continue`: time ran short; the next run goes on from what is stored.
 * - `busy`: another run is at it.
 */
export type ScanOutcome = { kind: 'done'; scan: ScanRecord } | { kind: 'continue' | 'busy'; scanId: string };

/**
 * The walk of a scan, in order: claim it, listen to the upload from end to end, match what was heard, decide, write
 * the verdict down, and tell. It may die at any point and be called again: ids are deterministic, windows are stored
 * as they are finished, and the verdict is written before anybody hears of it.
 */
export async function scanUpload(
  upload: ObjectVersion,
  deps: ScanDependencies,
  run: ScanRun,
): Promise<ScanOutcome> {
  const scan = await claim(upload, deps, run);
  if ('busy' in scan) return { kind: 'busy', scanId: scan.busy };
  if (scan.state === 'done') return { kind: 'done', scan: await announce(scan, deps) };

  try {
    const { listened, matches } = await listenAndMatch(scan, deps, run);
    const verdict = await conclude(scan, listened, matches, deps);
    await deps.scans.put(verdict);
    return { kind: 'done', scan: await announce(verdict, deps) };
  } catch (error) {
    await deps.scans.release(scan.scanId, run.worker);
    if (error instanceof OutOfTime) return { kind: 'continue', scanId: scan.scanId };
    throw error;
  }
}

async function claim(
  upload: ObjectVersion,
  deps: ScanDependencies,
  run: ScanRun,
): Promise<ScanRecord | { busy: string }> {
  const now = deps.clock.now();
  const { id, sha256 } = deps.embedder.model;
  // An event without version and etag (hand-made, say) is pinned to what lies there now.
  const pinned =
    upload.versionId || upload.etag
      ? upload
      : await deps.objects.describe(upload).catch((error) => {
          if (error instanceof ObjectNotFoundError) return upload;
          throw error;
        });
  const scanId = scanIdOf(pinned, id);
  const initial: ScanRecord = {
    scanId,
    upload: pinned,
    model: { id, sha256 },
    state: 'scanning',
    unsearched: [],
    detections: [],
    announced: false,
    attempts: 0,
    startedAt: now.toISOString(),
  };
  const until = now.getTime() + deps.settings.claimMs;
  return (await deps.scans.claim(initial, run.worker, now.getTime(), until)) ?? { busy: scanId };
}

/** A file that breaks off is judged by what was heard of it. */
async function listenAndMatch(
  scan: ScanRecord,
  deps: ScanDependencies,
  run: ScanRun,
): Promise<{ listened: Listened; matches: Match[] }> {
  const { heard, brokeOff } = await listenAsFarAsPossible(scan, deps, run);
  const opener = openerOf(deps, run);
  const summary = sumUp(heard.segments, heard.undecodable, heard, new SegmentGrid(deps.embedder.model));
  const matches = await matchHeard(
    heard,
    deps,
    { upload: opener(scan.upload), recording: ({ source }) => opener(source) },
    // What broke off may be whole when it is read once more, and has other matches then.
    brokeOff ? undefined : (possible) => pauseIfLate(scan.scanId, possible, deps, run),
  );
  return { listened: { ...summary, ...(brokeOff && { brokeOff }) }, matches };
}

const openerOf =
  ({ objects, decoder }: ScanDependencies, { signal }: ScanRun) =>
  (object: ObjectVersion): Reopen =>
  (use) =>
    objects.withFile(object, (path) =>
      use((fromMs, toMs, rate) => readStretch(decoder, path, fromMs, toMs, rate, signal)),
    );

async function listenAsFarAsPossible(
  scan: ScanRecord,
  deps: ScanDependencies,
  run: ScanRun,
): Promise<{ heard: Heard; brokeOff?: Reason }> {
  try {
    return { heard: await listen(scan.scanId, scan.upload, deps, run) };
  } catch (error) {
    if (!(error instanceof RejectedAudioError || error instanceof ObjectNotFoundError)) throw error;
    const brokeOff = { code: error.code, message: error.message };
    deps.log.warn('the upload cannot be heard to its end', { scanId: scan.scanId, ...brokeOff });
    return { heard: await heardSoFar(scan.scanId, deps), brokeOff };
  }
}

async function conclude(
  scan: ScanRecord,
  listened: Listened,
  matches: readonly Match[],
  deps: ScanDependencies,
): Promise<ScanRecord> {
  const detections = await Promise.all(
    matches.map(async ({ reference, spans }) => {
      const ownerPolicy = reference.owner ? await deps.references.ownerPolicy(reference.owner) : undefined;
      return detectionOf(scan.scanId, reference, spans, listened.durationMs, [reference.policy, ownerPolicy]);
    }),
  );
  detections.sort((a, b) => b.confidence - a.confidence || b.matchedMs - a.matchedMs);
  const { generation } = await deps.catalogue.stats();
  return {
    ...scan,
    ...verdictOf(detections, listened),
    state: 'done',
    durationMs: listened.durationMs,
    searchedMs: listened.searchedMs,
    unsearched: listened.unsearched,
    detections,
    indexGeneration: generation,
    finishedAt: deps.clock.now().toISOString(),
  };
}
