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
import { windowsOf } from '../steps/windows.ts';
import type { ScanDependencies } from './dependencies.ts';
import { encodeWindow, joinWindows } from './window-record.ts';

/** Reads a stretch of the upload: mono PCM at `rate` Hz, from `fromMs` to `toMs` or to its end. */
export type ReadStretch = (fromMs: number, toMs: number, rate: number) => Promise<Float32Array>;
/** Opens the upload once more, for as long as `use` runs. */
export type Reopen = <T>(use: (read: ReadStretch) => Promise<T>) => Promise<T>;

/** What hearing takes. */
export type HearingDependencies = Pick<ScanDependencies, 'embedder' | 'catalogue' | 'settings' | 'log'>;

/** What is read around a possible match, which may have been found in part only; and how much of it at most. */
const AROUND_MS = 10_000;
const LONGEST_MS = 180_000;

/**
 * Possible matches that are not sure are heard again at other speeds, and become sure where the music then is what it was
 * thought to be.
 *
 * @param spans all that could be a match, sure or not
 * @returns what the second hearing found, sure or not
 */
export async function hearAgain(
  spans: readonly MatchedSpan[],
  stored: ReadonlyMap<string, QuantisedVectors>,
  uploadMs: number,
  reopen: Reopen,
  deps: HearingDependencies,
): Promise<MatchedSpan[]> {
  const { model } = deps.embedder;
  const { threshold } = calibrationOf(model);
  const isSure = ({ confidence }: MatchedSpan) => confidence >= threshold;
  const sure = spans.filter(isSure);
  const doubts = doubtful(spans, threshold, uploadMs);
  if (doubts.length === 0) return [];
  const grid = new SegmentGrid(model);

  const found: MatchedSpan[] = [];
  try {
    await reopen(async (read) => {
      let stretch: Stretch | undefined;
      for (const span of doubts) {
        if (isCovered(span, sure)) continue;
        const [fromMs, toMs] = around(span, uploadMs);
        if (!stretch?.holds(fromMs, toMs)) {
          const pcm = await read(fromMs, toMs, Stretch.OVERSAMPLING * grid.sampleRate);
          stretch = new Stretch(fromMs, pcm, grid);
        }
        const reference = new StoredReference(span.referenceId, stored.get(span.referenceId)!);
        const speed = await speedOf(span, stretch, reference, deps.embedder);
        const matches = speed ? await matchesAt(speed, stretch, stored, deps) : [];
        // What is around a doubt may have been sure before.
        const fresh = matches.filter((match) => !isCovered(match, sure));
        found.push(...fresh);
        sure.push(...fresh.filter(isSure));
      }
    });
  } catch (error) {
    if (!(error instanceof RejectedAudioError || error instanceof ObjectNotFoundError)) throw error;
    deps.log.warn('what was in doubt cannot be heard again', { code: error.code, message: error.message });
  }
  return found;
}

function around({ uploadStartMs, uploadEndMs }: MatchedSpan, uploadMs: number): [number, number] {
  const half = Math.min(LONGEST_MS, uploadEndMs - uploadStartMs + 2 * AROUND_MS) / 2;
  const middle = (uploadStartMs + uploadEndMs) / 2;
  return [Math.max(0, middle - half), Math.min(uploadMs, middle + half)];
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
  stored: ReadonlyMap<string, QuantisedVectors>,
  deps: HearingDependencies,
): Promise<MatchedSpan[]> {
  const grid = new SegmentGrid(deps.embedder.model);
  const pcm = stretch.played(speed, stretch.fromMs, stretch.toMs);
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
    asUploaded(span, speed, stretch.fromMs),
  );
}

const embed = (pcm: Float32Array, embedder: Embedder): Promise<SegmentVectors> =>
  embedWindow({ index: 0, firstSegment: 0, pcm, undecodable: [] }, embedder);
