import { type Calibration, confidenceOf, type Features } from '../confidence.ts';
import type { SegmentGrid } from '../segment-grid.ts';
import type { Hit, SegmentVectors } from '../segments.ts';
import { inPieces } from './cuts.ts';
import { type Extent, extentOf } from './extent.ts';
import { Field, featuresOf } from './features.ts';
import { positionAt } from './line.ts';
import { chain, withoutAliases } from './resolve.ts';
import { sharpen } from './sharpen.ts';
import { Similarity, StoredReference } from './similarity.ts';
import { look, type Trace, traceLine } from './trace.ts';
import { type Proposal, proposeLines, SCALES } from './votes.ts';

/** The audible segments of an upload: global numbers, ascending; their embeddings; their hits, best first. */
export interface UploadSegments extends SegmentVectors {
  hits: Hit[][];
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
  without?: readonly Step[];
}

/** A short upload may ask for so many references, and each further minute for a few more. */
const REFERENCES_AT_ONCE = 24;
const REFERENCES_PER_MINUTE = 4;
const MOST_REFERENCES = 400;

/** The references whose stored vectors are worth fetching, most promising first. */
export function proposeReferences(upload: UploadSegments, grid: SegmentGrid): string[] {
  const votes = new Map<string, number>();
  for (const { referenceId, votes: count } of proposeLines(upload, grid)) {
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

/**
 * From hits to matches.
 *
 * 1. Hits **vote** for lines (reference, offset, speed), block by block of the upload.
 * 2. Each line is **sharpened**, then **traced** to both ends through the references' own vectors, segment by
 *    segment, as long as the evidence holds.
 * 3. Lines of one reference that explain the same stretch **compete**; what is steep because of cuts is taken apart into
 *    **pieces**; pieces that follow each other are **chained**.
 * 4. What is left becomes a span with a **probability**, and is reported from the calibrated threshold on.
 *
 * @param stored the stored vectors of the proposed references; those left out cannot match
 */
export function align(
  upload: UploadSegments,
  stored: ReadonlyMap<string, SegmentVectors>,
  grid: SegmentGrid,
  calibration: Calibration,
  { without = [] }: AlignOptions = {},
): MatchedSpan[] {
  const references = new Map([...stored].map(([id, vectors]) => [id, new StoredReference(id, vectors)]));
  const similarity = new Similarity(upload, [...references.values()], calibration);
  const proposals = proposeLines(
    upload,
    grid,
    without.includes('slopes') ? SCALES.map((scale) => ({ ...scale, slopes: [1] })) : SCALES,
  );
  const traces = traceAll(proposals, upload.segments, references, similarity, without);
  const field = new Field(traces);

  const best = withoutAliases(traces).flatMap((trace) => inPieces(trace, upload.segments, similarity));
  const matches = without.includes('chaining') ? best.flatMap((trace) => chain([trace])) : chain(best);
  return matches
    .flatMap(({ traces, score }) => {
      const features = featuresOf(traces, score, upload.segments.length, field, similarity, grid);
      const confidence = confidenceOf(features, calibration);
      if (confidence < calibration.threshold || features.seconds < SHORTEST_SECONDS) return [];
      return traces.map((trace) => ({
        referenceId: trace.reference.id,
        ...extentOf(trace, grid),
        confidence,
        features,
      }));
    })
    .sort((a, b) => a.uploadStartMs - b.uploadStartMs);
}

/** Traces every proposed line once, strongest first; a line that an earlier trace already followed is left out. */
function traceAll(
  proposals: readonly Proposal[],
  segments: Uint32Array,
  references: ReadonlyMap<string, StoredReference>,
  similarity: Similarity,
  without: readonly Step[],
): Trace[] {
  const traces = new Map<string, Trace[]>();
  for (const { referenceId, line, fromRow, toRow } of proposals.toSorted((a, b) => b.votes - a.votes)) {
    const reference = references.get(referenceId);
    if (!reference) continue;
    const known = traces.get(referenceId) ?? [];
    if (known.some((trace) => wasFollowed(line.upload, line.position, trace))) continue;

    const sharp = without.includes('sharpening')
      ? line
      : sharpen(line, fromRow, toRow, segments, reference, similarity);
    let seed = -1;
    let most = 0;
    for (let row = fromRow; row < toRow; row++) {
      const upload = segments[row]!;
      const evidence = look(row, upload, positionAt(sharp, upload), reference, similarity)?.evidence ?? 0;
      if (evidence > most) {
        most = evidence;
        seed = row;
      }
    }
    if (seed < 0) continue;
    const range = without.includes('extension') ? { fromRow, toRow } : undefined;
    traces.set(referenceId, [...known, traceLine(sharp, seed, segments, reference, similarity, range)]);
  }
  return [...traces.values()].flat();
}

function wasFollowed(upload: number, position: number, { steps, from, to, line }: Trace): boolean {
  const within = upload >= steps[from]!.upload && upload <= steps[to]!.upload;
  return within && Math.abs(positionAt(line, upload) - position) < 1.5;
}
