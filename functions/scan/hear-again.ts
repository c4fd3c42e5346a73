import { aheadOf, likelyPlaces, withoutDoubles } from '../core/alignment/elsewhere.ts';
import { align, type MatchedSpan, propose } from '../core/alignment/index.ts';
import {
  asUploaded,
  doubtful,
  excerptOf,
  FINER_SPEEDS,
  isCovered,
  LEAST_GAIN,
  likeness,
  OTHER_SPEEDS,
  Stretch,
} from '../core/alignment/other-speeds.ts';
import { StoredReference } from '../core/alignment/similarity.ts';
import { calibrationOf } from '../core/confidence.ts';
import { ObjectNotFoundError, RejectedAudioError } from '../core/errors.ts';
import { SegmentGrid } from '../core/segment-grid.ts';
import type { SegmentVectors } from '../core/segments.ts';
import type { QuantisedVectors } from '../ports/catalogue.ts';
import type { Embedder } from '../ports/embedder.ts';
import { embedWindow } from '../steps/embed-window.ts';
import { OPENING_MS } from '../steps/read-stretch.ts';
import { windowsOf } from '../steps/windows.ts';
import { compared } from './compare.ts';
import type { ScanDependencies } from './dependencies.ts';
import { encodeWindow, joinWindows } from './window-record.ts';

/** Reads a stretch of it: mono PCM at `rate` Hz, from `fromMs` to `toMs` or to its end. */
export type ReadStretch = (fromMs: number, toMs: number, rate: number) => Promise<Float32Array>;
/** Opens a sound once more, for as long as `use` runs. */
export type Reopen = <T>(use: (read: ReadStretch) => Promise<T>) => Promise<T>;

/** What can be heard once more. */
export interface Sources {
  upload: Reopen;
  /** The recording that a reference was made of. */
  recording(referenceId: string): Reopen;
}

/** What hearing takes. */
export type HearingDependencies = Pick<ScanDependencies, 'embedder' | 'catalogue' | 'settings' | 'log'>;

/** What is heard around a possible match, which may have been found in part only; and how much of it at most. */
const AROUND_MS = 10_000;
const LONGEST_MS = 180_000;
/** A line that is steeper than this is music at another speed, not one that was traced badly. */
const MOST_SPEED_CHANGE = 0.1;
/** Matches of one upload whose place is looked into: half a day of music has thousands. */
const MOST_AMBIGUOUS = 10;

/** Shorter matches may lie at another place that sounds alike; longer ones hold something that is nowhere else. */
const SHORT_MS = 15_000;

/**
 * Possible matches that are not sure are heard again: compared with the recording itself, and, if it is not that, played at
 * other speeds. They become sure where the music then is what it was thought to be. So are short matches that are sure,
 * but could lie at several places of their recording. A short upload in which nothing is sure is heard from half a hop on
 * as well: segments that lie between those of the recording are a little less like them, and there are few of them.
 *
 * @param spans all that could be a match, sure or not
 * @returns the same after the second hearing, with what else it found
 */
export async function hearAgain(
  spans: readonly MatchedSpan[],
  heard: QuantisedVectors,
  uploadMs: number,
  stored: ReadonlyMap<string, QuantisedVectors>,
  sources: Sources,
  deps: HearingDependencies,
): Promise<MatchedSpan[]> {
  const { model } = deps.embedder;
  const calibration = calibrationOf(model);
  const grid = new SegmentGrid(model);
  const isSure = ({ confidence }: MatchedSpan) => confidence >= calibration.threshold;
  const single = (spans: readonly MatchedSpan[]) => withoutDoubles(spans, calibration.threshold, grid.hopMs);

  let known = new Set(spans);
  const isExplained = (span: MatchedSpan) => isCovered(span, [...known].filter(isSure));
  const isSettled = (span: MatchedSpan) => !isSure(span) && isExplained(span);
  const isUnclear = uploadMs < SHORT_MS && stored.size > 0 && !spans.some(isSure);
  const before = isUnclear ? undefined : inDoubt();
  if (before?.size === 0) return [...spans];
  try {
    await sources.upload(async (read) => {
      const opened = async (fromMs: number, toMs: number) =>
        new Stretch(fromMs, await read(fromMs, toMs, Stretch.OVERSAMPLING * grid.sampleRate), grid);
      const all = isUnclear ? await opened(0, uploadMs) : undefined;
      if (all) {
        const later = { fromMs: grid.hopMs / 2, toMs: uploadMs };
        known = new Set(single([...known, ...(await matchesAt(1, all, later, stored, deps))]));
      }
      const places = before ?? inDoubt();
      for (const { fromMs, toMs, near } of readTogether([...places.keys()], uploadMs)) {
        if (near.every(isSettled)) continue;
        const stretch = all ?? (await opened(fromMs, toMs));
        for (const span of near) {
          if (isSettled(span)) continue;
          const same = await sameRecording(span, places.get(span)!, stretch);
          // What is sure is moved only by what is surer: drums that a change of pitch left alone agree with all their repeats.
          if (same && isSure(same) && same.confidence > span.confidence) {
            known.delete(span);
            known.add(same);
          } else if (!isSure(span)) {
            // What is around a doubt may have been sure before.
            const fresh = (await atOtherSpeed(span, stretch)).filter((match) => !isExplained(match));
            for (const match of fresh) known.add(match);
          }
        }
      }
    });
  } catch (error) {
    if (!isGone(error)) throw error;
    deps.log.warn('what was in doubt cannot be heard again', { code: error.code, message: error.message });
  }
  return single([...known]);

  /** What is worth another hearing, and where in its recording it may lie. */
  function inDoubt(): Map<MatchedSpan, number[]> {
    const spans = [...known];
    const doubts = doubtful(spans, calibration.threshold, uploadMs);
    const short = spans.filter((span) => isSure(span) && isShort(span)).slice(0, MOST_AMBIGUOUS);
    const placed = (span: MatchedSpan) => [span, placesOf(span, span === doubts[0])] as const;
    return new Map([...doubts.map(placed), ...short.map(placed).filter(([, places]) => places.length > 1)]);
  }

  /**
   * By how much the recording may be ahead of the upload, ms: as it was traced, and where else it sounds alike. Reading takes
   * longer than all else, and most doubts are none: of them, only the best one is looked for in several places.
   */
  function placesOf(span: MatchedSpan, isBestDoubt: boolean): number[] {
    if (Math.abs(span.speed - 1) > MOST_SPEED_CHANGE) return [];
    const traced = aheadOf(span);
    if (!isSure(span) && !isBestDoubt) return [traced];
    const reference = new StoredReference(span.referenceId, stored.get(span.referenceId)!);
    const likely = likelyPlaces(span, heard, reference, grid);
    return [traced, ...likely.filter((place) => Math.abs(place - traced) > grid.hopMs)];
  }

  /** Recordings need not be kept: without them, vectors decide. */
  function sameRecording(
    span: MatchedSpan,
    places: readonly number[],
    stretch: Stretch,
  ): Promise<MatchedSpan | undefined> {
    const recording = sources.recording(span.referenceId);
    return compared(span, places, stretch, recording, calibration).catch((error) => {
      if (!isGone(error)) throw error;
      deps.log.info('a recording cannot be compared with', { code: error.code, message: error.message });
      return undefined;
    });
  }

  async function atOtherSpeed(span: MatchedSpan, stretch: Stretch): Promise<MatchedSpan[]> {
    const reference = new StoredReference(span.referenceId, stored.get(span.referenceId)!);
    const speed = await speedOf(span, stretch, reference, deps.embedder);
    return speed ? matchesAt(speed, stretch, around(span, uploadMs), stored, deps) : [];
  }
}

const isShort = ({ uploadStartMs, uploadEndMs }: MatchedSpan): boolean =>
  uploadEndMs - uploadStartMs < SHORT_MS;

const isGone = (error: unknown): error is RejectedAudioError | ObjectNotFoundError =>
  error instanceof RejectedAudioError || error instanceof ObjectNotFoundError;

interface Surroundings {
  fromMs: number;
  toMs: number;
}

function around({ uploadStartMs, uploadEndMs }: MatchedSpan, uploadMs: number): Surroundings {
  const half = Math.min(LONGEST_MS, uploadEndMs - uploadStartMs + 2 * AROUND_MS) / 2;
  const middle = (uploadStartMs + uploadEndMs) / 2;
  return { fromMs: Math.max(0, middle - half), toMs: Math.min(uploadMs, middle + half) };
}

/** Spans with what is around them, near ones together: groups in the order of the upload, the most confident of each first. */
function readTogether(
  spans: readonly MatchedSpan[],
  uploadMs: number,
): (Surroundings & { near: MatchedSpan[] })[] {
  const groups: (Surroundings & { near: MatchedSpan[] })[] = [];
  const one = (span: MatchedSpan) => ({ ...around(span, uploadMs), near: [span] });
  for (const next of spans.map(one).sort((a, b) => a.fromMs - b.fromMs)) {
    const last = groups.at(-1);
    const toMs = Math.max(last?.toMs ?? 0, next.toMs);
    if (last && next.fromMs - last.toMs < OPENING_MS && toMs - last.fromMs <= LONGEST_MS) {
      last.toMs = toMs;
      last.near.push(...next.near);
    } else {
      groups.push(next);
    }
  }
  for (const group of groups) group.near.sort((a, b) => b.confidence - a.confidence);
  return groups;
}

/** The speed at which the excerpt sounds most like the reference, if that is clearly more than at its own. */
async function speedOf(
  span: MatchedSpan,
  stretch: Stretch,
  reference: StoredReference,
  embedder: Embedder,
): Promise<number | undefined> {
  const grid = new SegmentGrid(embedder.model);
  const mostAlike = async (speeds: readonly number[]) => {
    const found = speeds.map(async (speed) => {
      const { fromMs, toMs, firstSegment } = excerptOf(span, speed, grid, stretch);
      const heard = await embed(stretch.played(speed, fromMs, toMs), embedder);
      return { speed, likeness: likeness(heard, reference, firstSegment) };
    });
    return (await Promise.all(found)).reduce((a, b) => (b.likeness > a.likeness ? b : a));
  };
  const coarse = await mostAlike(OTHER_SPEEDS);
  if (coarse.likeness < span.features.cosine + LEAST_GAIN) return undefined;
  const finer = await mostAlike(FINER_SPEEDS.map((factor) => factor * coarse.speed));
  return finer.likeness > coarse.likeness ? finer.speed : coarse.speed;
}

/** The ordinary way from sound to matches, for a stretch that is played at another speed. */
async function matchesAt(
  speed: number,
  stretch: Stretch,
  { fromMs, toMs }: Surroundings,
  stored: ReadonlyMap<string, QuantisedVectors>,
  deps: HearingDependencies,
): Promise<MatchedSpan[]> {
  const grid = new SegmentGrid(deps.embedder.model);
  const pcm = stretch.played(speed, fromMs, toMs);
  async function* blocks() {
    yield { startSample: 0, pcm };
  }
  const windows: Uint8Array[] = [];
  for await (const window of windowsOf(blocks(), grid, deps.settings.windowSegments)) {
    const { segments, vectors } = await embedWindow(window, deps.embedder);
    const hits = segments.length === 0 ? [] : await deps.catalogue.search(vectors, deps.settings.neighbours);
    windows.push(encodeWindow({ segments, vectors, hits, undecodable: [] }));
  }
  const heard = joinWindows(windows);
  const proposals = propose(heard, grid);
  const calibration = calibrationOf(deps.embedder.model);
  return align(heard, proposals, stored, grid, calibration, { least: calibration.doubt }).map((span) =>
    asUploaded(span, speed, fromMs),
  );
}

const embed = (pcm: Float32Array, embedder: Embedder): Promise<SegmentVectors> =>
  embedWindow({ index: 0, firstSegment: 0, pcm, undecodable: [] }, embedder);
