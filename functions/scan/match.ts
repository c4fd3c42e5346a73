import { align, type MatchedSpan, promising, propose } from '../core/alignment/index.ts';
import { calibrationOf } from '../core/confidence.ts';
import type { MatchSpan } from '../core/detection.ts';
import type { Reference } from '../core/reference.ts';
import { SegmentGrid } from '../core/segment-grid.ts';
import { withoutExcluded } from '../core/span.ts';
import type { QuantisedVectors } from '../ports/catalogue.ts';
import { forEachConcurrently } from '../steps/pool.ts';
import type { ScanDependencies } from './dependencies.ts';
import { type HearingDependencies, hearAgain, type Reopen } from './hear-again.ts';
import type { Heard } from './listen.ts';

/** What matching takes. */
export type MatchingDependencies = HearingDependencies & Pick<ScanDependencies, 'references'>;

/** One reference and where it lies in the upload. */
export interface Match {
  reference: Reference;
  spans: MatchSpan[];
}

/**
 * From hits to matches: proposes references, fetches their stored vectors and aligns; what is in doubt is heard again.
 * References that are disabled, gone or still being registered do not match; neither does what lies in the parts that
 * their owner excluded.
 *
 * @param sources opens the upload and recordings once more; without it, what is in doubt is left out
 * @param onPossible is told what could be a match before any of it is heard again, unless an earlier run was; may throw
 */
export async function matchHeard(
  heard: Heard,
  deps: MatchingDependencies,
  sources?: { upload: Reopen; recording(reference: Reference): Reopen },
  onPossible?: (spans: readonly MatchedSpan[]) => Promise<void>,
): Promise<Match[]> {
  const { threshold } = calibrationOf(deps.embedder.model);
  const { references, stored, possible } = await couldMatch(heard, deps);
  if (!heard.possible) await onPossible?.(possible);
  const settled = sources
    ? await hearAgain(
        possible,
        heard,
        heard.durationMs,
        stored,
        { ...sources, recording: (referenceId) => sources.recording(references.get(referenceId)!) },
        deps,
      )
    : possible;
  const spans = settled.filter(({ confidence }) => confidence >= threshold);

  return [...references.values()]
    .map((reference) => ({
      reference,
      spans: spans
        .filter(({ referenceId }) => referenceId === reference.referenceId)
        .map((span) => roundedSpan(span, reference))
        .flatMap((span) => withoutExcluded(span, reference.excluded)),
    }))
    .filter((match) => match.spans.length > 0);
}

/** All that could be a match, sure or not: as an earlier run left it, or as the hits have it. */
async function couldMatch(heard: Heard, deps: MatchingDependencies) {
  const { model } = deps.embedder;
  if (heard.possible) {
    const found = await activeOnes(
      heard.possible.map(({ referenceId }) => referenceId),
      deps,
    );
    const possible = heard.possible.filter(({ referenceId }) => found.stored.has(referenceId));
    return { ...found, possible };
  }
  const grid = new SegmentGrid(model);
  const calibration = calibrationOf(model);
  const proposals = propose(heard, grid);
  const found = await activeOnes(promising(proposals, heard, grid), deps);
  const least = Math.min(calibration.threshold, calibration.doubt);
  return { ...found, possible: align(heard, proposals, found.stored, grid, calibration, { least }) };
}

/** References whose vectors are fetched at a time: each is a request, and a minute of upload asks for dozens. */
const FETCHED_AT_ONCE = 8;

/** Those of the references that are active, with their stored vectors; in order, as alignment samples them for what stands for chance. */
async function activeOnes(ids: readonly string[], { references, catalogue }: MatchingDependencies) {
  const known = await references.getMany([...new Set(ids)]);
  const active = [...known].filter(([, { state }]) => state === 'active');
  const vectors = new Map<string, QuantisedVectors>();
  await forEachConcurrently(active, FETCHED_AT_ONCE, async ([id]) => {
    vectors.set(id, await catalogue.vectorsOf(id, 0, 0xffff_ffff));
  });
  return { references: new Map(active), stored: new Map(active.map(([id]) => [id, vectors.get(id)!])) };
}

/** In whole milliseconds, and within the reference. */
function roundedSpan(span: MatchedSpan, reference: Reference): MatchSpan {
  return {
    uploadStartMs: Math.round(span.uploadStartMs),
    uploadEndMs: Math.round(span.uploadEndMs),
    referenceStartMs: Math.round(span.referenceStartMs),
    referenceEndMs: Math.min(Math.round(span.referenceEndMs), Math.round(reference.durationMs)),
    speed: Number(span.speed.toFixed(4)),
    confidence: span.confidence,
  };
}
