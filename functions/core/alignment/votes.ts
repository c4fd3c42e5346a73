import type { SegmentGrid } from '../segment-grid.ts';
import type { HitColumns } from '../segments.ts';
import { backgroundOf } from './background.ts';
import type { Line } from './line.ts';

/** A line that hits of one reference agree on, within one block of the upload. */
export interface Proposal {
  referenceId: string;
  line: Line;
  /** The upload rows of the block, `[fromRow, toRow)`. */
  fromRow: number;
  toRow: number;
  /** What the hits on the line have above the background, summed. */
  weight: number;
  /** The same per square root of the asked rows: comparable between long and short blocks. */
  votes: number;
}

/**
 * Blocks of the upload that vote together, overlapping by half. Short ones for short excerpts and drifting speeds;
 * long ones for what is so faint that a hit comes only every few seconds. Neighbouring slopes part by a third of a
 * second over half a block: less than a vote bin.
 */
export const SCALES: readonly Scale[] = [
  { blockMs: 10_000, slopes: slopesBy(0.055, 5) },
  { blockMs: 40_000, slopes: slopesBy(0.0175, 16) },
];
export interface Scale {
  blockMs: number;
  slopes: readonly number[];
}
function slopesBy(step: number, count: number): number[] {
  const slopes = [1];
  for (let i = 1; i <= count; i++) slopes.push((1 + step) ** -i, (1 + step) ** i);
  return slopes;
}
/** A line off the original speed needs this much more votes: it has ten chances to one. */
const SLOPE_PREFERENCE = 1.05;
const LINES_PER_BLOCK = 16;
/** In a long upload a match shows in several blocks, and each needs to keep fewer lines. */
const LONG_UPLOAD_MS = 120_000;
const LINES_PER_BLOCK_OF_LONG = 6;
/** Beside a clear line, lines with less than this share of its votes are not worth a look. */
const LEAST_SHARE = 0.12;
const LINES_PER_REFERENCE = 4;
/** References looked at per block: those whose hits weigh most. */
const REFERENCES_PER_BLOCK = 48;
/** Lines of one reference closer than this, in segments, are one line. */
const APART = 3;

/**
 * Lets the hits vote for lines, block by block. Every hit weighs what it has above the background and votes, for
 * each slope, for the place where its line crosses the middle of the block.
 */
export function proposeLines(
  upload: { segments: Uint32Array; hits: HitColumns },
  grid: SegmentGrid,
  scales = SCALES,
): Proposal[] {
  const background = backgroundOf(upload.hits);
  const lengthMs = upload.segments.length * grid.hopMs;
  const most = lengthMs > LONG_UPLOAD_MS ? LINES_PER_BLOCK_OF_LONG : LINES_PER_BLOCK;
  return scales
    .filter(({ blockMs }, i) => i === 0 || lengthMs > blockMs / 2)
    .flatMap((scale) => proposeAt(scale, upload.segments, upload.hits, background, grid, most));
}

function proposeAt(
  { blockMs, slopes }: Scale,
  segments: Uint32Array,
  hits: HitColumns,
  background: Float32Array,
  grid: SegmentGrid,
  most: number,
): Proposal[] {
  const blockLength = Math.ceil(blockMs / grid.hopMs);
  const blockStep = Math.ceil(blockLength / 2);
  const proposals: Proposal[] = [];
  let fromRow = 0;
  let toRow = 0;
  for (let start = 0; toRow < segments.length; start += blockStep) {
    while (fromRow < segments.length && segments[fromRow]! < start) fromRow++;
    if (fromRow < segments.length && segments[fromRow]! >= start + blockLength) {
      // A long silence: go on with the block that holds the next audible segment.
      start = Math.floor(segments[fromRow]! / blockStep) * blockStep - blockStep;
      continue;
    }
    while (toRow < segments.length && segments[toRow]! < start + blockLength) toRow++;
    proposals.push(...linesOfBlock(segments, hits, background, fromRow, toRow, slopes, most));
  }
  return proposals;
}

/** One reference's hits in a block, as columns. */
interface BlockHits {
  reference: number;
  upload: number[];
  segment: number[];
  weight: number[];
  /** What a line through all of them could get: the best weight of each upload segment. */
  most: number;
}

function linesOfBlock(
  segments: Uint32Array,
  hits: HitColumns,
  background: Float32Array,
  fromRow: number,
  toRow: number,
  slopes: readonly number[],
  most: number,
): Proposal[] {
  const middle = (segments[fromRow]! + segments[toRow - 1]!) / 2;
  let lines: (Peak & { reference: number })[] = [];
  // What is enough to be kept.
  let bar = 0;
  const groups = byReference(segments, hits, background, fromRow, toRow).sort((a, b) => b.most - a.most);
  for (const group of groups.slice(0, REFERENCES_PER_BLOCK)) {
    if (group.most < bar) break;
    const peaks = strongestLines(group, middle, slopes);
    lines = [...lines, ...peaks.map((peak) => ({ ...peak, reference: group.reference }))]
      .sort((a, b) => b.votes - a.votes)
      .slice(0, most);
    bar = Math.max(LEAST_SHARE * lines[0]!.votes, lines[most - 1]?.votes ?? 0);
  }
  const asked = Math.sqrt(askedRows(hits, fromRow, toRow));
  return lines
    .filter(({ votes }) => votes >= bar)
    .map(({ reference, votes, position, slope }) => ({
      referenceId: hits.referenceIds[reference]!,
      line: { upload: middle, position, slope },
      fromRow,
      toRow,
      weight: votes,
      votes: votes / asked,
    }));
}

/** How many of the rows have hits: the others were not asked. */
function askedRows({ starts }: HitColumns, fromRow: number, toRow: number): number {
  let asked = 0;
  for (let row = fromRow; row < toRow; row++) if (starts[row + 1]! > starts[row]!) asked++;
  return asked;
}

/** The hits of a block above the background, reference by reference. */
function byReference(
  segments: Uint32Array,
  { starts, reference, segment, similarity }: HitColumns,
  background: Float32Array,
  fromRow: number,
  toRow: number,
): BlockHits[] {
  const groups = new Map<number, BlockHits>();
  for (let row = fromRow; row < toRow; row++) {
    const upload = segments[row]!;
    for (let i = starts[row]!; i < starts[row + 1]!; i++) {
      const weight = similarity[i]! - background[row]!;
      if (weight <= 0) break;
      let group = groups.get(reference[i]!);
      if (!group) {
        group = { reference: reference[i]!, upload: [], segment: [], weight: [], most: 0 };
        groups.set(reference[i]!, group);
      }
      if (group.upload.at(-1) !== upload) group.most += weight;
      group.upload.push(upload);
      group.segment.push(segment[i]!);
      group.weight.push(weight);
    }
  }
  return [...groups.values()];
}

interface Peak {
  votes: number;
  position: number;
  slope: number;
}

// Scratch histogram of line positions, one segment a bin, folded: places 4,096 segments apart share a bin.
const BINS = 4096;
const votesIn = new Float32Array(BINS);
const lastVoter = new Int32Array(BINS).fill(-1);
const lastWeight = new Float32Array(BINS);
/** The bins that hold votes. */
const voted = new Int32Array(BINS);

function strongestLines(
  { upload, segment, weight }: BlockHits,
  middle: number,
  slopes: readonly number[],
): Peak[] {
  const peaks: Peak[] = [];
  const count = upload.length;
  const positions = new Int32Array(count);
  /** What a peak must exceed. */
  let least = 0;
  for (const slope of slopes) {
    let bins = 0;
    /** An upload segment votes once per bin, with its best hit: held notes must not stuff the ballot. */
    const vote = (bin: number, voter: number, weight: number): void => {
      if (lastVoter[bin] !== voter) {
        if (lastVoter[bin] === -1) voted[bins++] = bin;
        votesIn[bin]! += weight;
        lastVoter[bin] = voter;
        lastWeight[bin] = weight;
      } else if (weight > lastWeight[bin]!) {
        votesIn[bin]! += weight - lastWeight[bin]!;
        lastWeight[bin] = weight;
      }
    };
    for (let i = 0; i < count; i++) {
      const position = Math.floor(segment[i]! - slope * (upload[i]! - middle));
      positions[i] = position;
      // Bins are two segments wide and overlap, so that no line falls between two.
      vote(position & (BINS - 1), upload[i]!, weight[i]!);
      vote((position - 1) & (BINS - 1), upload[i]!, weight[i]!);
    }
    for (let i = 0; i < count; i++) {
      const position = positions[i]!;
      const here = votesIn[position & (BINS - 1)]!;
      if (here > least) least = keepPeak(peaks, position + 1, slope, here);
      const before = votesIn[(position - 1) & (BINS - 1)]!;
      if (before > least) least = keepPeak(peaks, position, slope, before);
    }
    for (let i = 0; i < bins; i++) {
      votesIn[voted[i]!] = 0;
      lastVoter[voted[i]!] = -1;
    }
  }
  return peaks;
}

/**
 * Keeps the best few peaks that are not neighbours of each other.
 * @returns the votes that another peak must exceed
 */
function keepPeak(peaks: Peak[], position: number, slope: number, votes: number): number {
  const near = peaks.find((peak) => Math.abs(peak.position - position) < APART);
  if (near) {
    const needed = near.slope === slope ? near.votes : near.votes * SLOPE_PREFERENCE;
    if (votes > needed) Object.assign(near, { position, slope, votes });
  } else if (peaks.length < LINES_PER_REFERENCE) {
    peaks.push({ position, slope, votes });
  } else {
    const weakest = weakestOf(peaks);
    if (votes > weakest.votes * SLOPE_PREFERENCE) Object.assign(weakest, { position, slope, votes });
  }
  return peaks.length < LINES_PER_REFERENCE ? 0 : weakestOf(peaks).votes;
}

const weakestOf = (peaks: readonly Peak[]): Peak => peaks.reduce((a, b) => (b.votes < a.votes ? b : a));
