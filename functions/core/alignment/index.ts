import { type Calibration, confidenceOf, type Features } from '../confidence.ts';
import type { SegmentGrid } from '../segment-grid.ts';
import type { HitColumns, QuantisedVectors } from '../segments.ts';
import { backgroundOf } from './background.ts';
import { inPieces } from './cuts.ts';
import { type Extent, extentOf } from './extent.ts';
import { featuresOf } from './features.ts';
import { type Line, positionAt } from './line.ts';
import { Places } from './places.ts';
import { chain, withoutAliases } from './resolve.ts';
import { sharpen } from './sharpen.ts';
import { Similarity, StoredReference } from './similarity.ts';
import { type Trace, traceLine } from './trace.ts';
import { type Proposal, proposeLines, SCALES } from './votes.ts';

/** The audible segments of an upload: global numbers, ascending; their embeddings; their hits. */
export interface UploadSegments extends QuantisedVectors {
  hits: HitColumns;
}

/** One stretch of the upload that is one stretch of a reference. */
export interface MatchedSpan extends Extent {
  referenceId: string;
  /** Probability that this is a true match, 0..1. Pieces of one cut-up match share it. */
  confidence: number;
  features: Features;
}

/** Steps that can be left out, to see what each is worth. */
export type Step = 'slopes' | 'sharpening' | 'extension' | 'chaining';
export interface AlignOptions {
  /** What is less sure is not reported; by default the calibrated threshold. */
  least?: number;
  without?: readonly Step[];
}

/** A short upload may ask for so many references, and each further minute for a few more. */
const REFERENCES_AT_ONCE = 24;
const REFERENCES_PER_MINUTE = 4;
const MOST_REFERENCES = 400;

/** Lets the hits vote for lines: the first step. */
export function propose(
  upload: UploadSegments,
  grid: SegmentGrid,
  { without = [] }: AlignOptions = {},
): Proposal[] {
  const scales = without.includes('slopes') ? SCALES.map((scale) => ({ ...scale, slopes: [1] })) : SCALES;
  return proposeLines(upload, grid, scales);
}

/** The references whose stored vectors are worth fetching, most promising first. */
export function promising(
  proposals: readonly Proposal[],
  upload: UploadSegments,
  grid: SegmentGrid,
): string[] {
  const votes = new Map<string, number>();
  for (const { referenceId, votes: count } of proposals) {
    votes.set(referenceId, Math.max(count, votes.get(referenceId) ?? 0));
  }
  const minutes = (upload.segments.length * grid.hopMs) / 60_000;
  const most = Math.min(MOST_REFERENCES, Math.ceil(REFERENCES_AT_ONCE + REFERENCES_PER_MINUTE * minutes));
  return [...votes]
    .sort(([, a], [, b]) => b - a)
    .slice(0, most)
    .map(([id]) => id);
}

/** A match of two segments is a coincidence, however alike they are: the hop from the first to the last, and one more. */
const SHORTEST_SECONDS = 1.5;
/** ... and so is a match of two sounds: a held tone is in a hundred recordings, and as long in each as one likes. */
const FEWEST_SOUNDS = 3;

/**
 * From hits to matches.
 *
 * 1. Hits **vote** for lines (reference, offset, speed), block by block of the upload: `propose`.
 * 2. Each line is **sharpened**, then **traced** to both ends through the references' own vectors, segment by
 *    segment, as long as the evidence holds.
 * 3. Lines of one reference that explain the same stretch **compete**; what is steep because of cuts is taken apart into
 *    **pieces**; pieces that follow each other are **chained**.
 * 4. What is left becomes a span with a **probability**, and is reported from the calibrated threshold on.
 *    What lies below it may become clear when it is heard at another speed (`other-speeds.ts`).
 *
 * @param stored the stored vectors of promising references; those left out cannot match
 */
export function align(
  upload: UploadSegments,
  proposals: readonly Proposal[],
  stored: ReadonlyMap<string, QuantisedVectors>,
  grid: SegmentGrid,
  calibration: Calibration,
  { least = calibration.threshold, without = [] }: AlignOptions = {},
): MatchedSpan[] {
  const references = new Map([...stored].map(([id, vectors]) => [id, new StoredReference(id, vectors)]));
  const similarity = new Similarity(upload, [...references.values()], calibration);
  const traces = traceAll(proposals, upload.segments, references, similarity, without);
  const places = new Places(traces);
  const background = backgroundOf(upload.hits);

  const best = withoutAliases(traces).flatMap((trace) => inPieces(trace, upload.segments, similarity));
  const matches = without.includes('chaining') ? best.flatMap((trace) => chain([trace])) : chain(best);
  return matches
    .flatMap(({ traces, score }) => {
      const features = featuresOf(
        traces,
        score,
        upload.segments.length,
        places,
        similarity,
        background,
        grid,
      );
      const confidence = confidenceOf(features, calibration);
      if (confidence < least || features.seconds < SHORTEST_SECONDS) return [];
      if (similarity.sounds(rowsOf(traces)) < FEWEST_SOUNDS) return [];
      return traces.map((trace) => ({
        referenceId: trace.reference.id,
        ...extentOf(trace, grid),
        confidence,
        features,
      }));
    })
    .sort((a, b) => a.uploadStartMs - b.uploadStartMs);
}

const rowsOf = (traces: readonly Trace[]): number[] =>
  traces.flatMap(({ steps, from, to }) => steps.slice(from, to + 1).map(({ row }) => row));

/** Traces every proposed line once, strongest first; a line that an earlier trace already followed is left out. */
function traceAll(
  proposals: readonly Proposal[],
  segments: Uint32Array,
  references: ReadonlyMap<string, StoredReference>,
  similarity: Similarity,
  without: readonly Step[],
): Trace[] {
  const traces: Trace[] = [];
  const places = new Places();
  for (const { referenceId, line, fromRow, toRow } of proposals.toSorted((a, b) => b.votes - a.votes)) {
    const reference = references.get(referenceId);
    if (!reference) continue;
    if (places.at(line.upload).some((trace) => trace.reference === reference && follows(trace, line)))
      continue;

    const still = without.includes('sharpening');
    const sharp = sharpen(line, fromRow, toRow, segments, reference, similarity, still);
    if (sharp.seed < 0) continue;
    const range = without.includes('extension') ? { fromRow, toRow } : undefined;
    const trace = traceLine(sharp.line, sharp.seed, segments, reference, similarity, range);
    if (!trace) continue;
    traces.push(trace);
    places.add(trace);
  }
  return traces;
}

/** Whether a trace goes through the middle of a proposed line. */
function follows({ steps, from, to, line }: Trace, { upload, position }: Line): boolean {
  const within = upload >= steps[from]!.upload && upload <= steps[to]!.upload;
  return within && Math.abs(positionAt(line, upload) - position) < 1.5;
}
