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
  const { model } = deps.embedder;
  const grid = new SegmentGrid(model);
  const calibration = calibrationOf(model);
  const proposals = heard.possible ? [] : propose(heard, grid);
  const ids = heard.possible?.map(({ referenceId }) => referenceId) ?? promising(proposals, heard, grid);
  const proposed = await deps.references.getMany([...new Set(ids)]);
  const active = [...proposed.values()].filter((reference) => reference.state === 'active');
  const stored = await vectorsOf(active, deps);
  const least = Math.min(calibration.threshold, calibration.doubt);
  const possible =
    heard.possible?.filter(({ referenceId }) => stored.has(referenceId)) ??
    align(heard, proposals, stored, grid, calibration, { least });
  if (!heard.possible) await onPossible?.(possible);
  const settled = sources
    ? await hearAgain(
        possible,
        heard,
        heard.durationMs,
        stored,
        { ...sources, recording: (referenceId) => sources.recording(proposed.get(referenceId)!) },
        deps,
      )
    : possible;
  const spans = settled.filter(({ confidence }) => confidence >= calibration.threshold);

  return active
    .map((reference) => ({
      reference,
      spans: spans
        .filter(({ referenceId }) => referenceId === reference.referenceId)
        .map((span) => roundedSpan(span, reference))
        .flatMap((span) => withoutExcluded(span, reference.excluded)),
    }))
    .filter((match) => match.spans.length > 0);
}

/** References whose vectors are fetched at a time: each is a request, and a minute of upload asks for dozens. */
const FETCHED_AT_ONCE = 8;

/** The stored vectors of references, in their order: of it, alignment takes what stands for chance. */
async function vectorsOf(
  references: readonly Reference[],
  { catalogue }: Pick<MatchingDependencies, 'catalogue'>,
): Promise<Map<string, QuantisedVectors>> {
  const fetched = new Map<string, QuantisedVectors>();
  await forEachConcurrently(references, FETCHED_AT_ONCE, async ({ referenceId }) => {
    fetched.set(referenceId, await catalogue.vectorsOf(referenceId, 0, 0xffff_ffff));
  });
  return new Map(references.map(({ referenceId }) => [referenceId, fetched.get(referenceId)!]));
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
