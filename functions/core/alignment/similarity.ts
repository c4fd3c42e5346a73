import type { Calibration } from '../confidence.ts';
import { QUANTISED_ONE, type QuantisedVectors } from '../segments.ts';

/** A reference's stored vectors, addressable by segment number. Silent segments were never stored. */
export class StoredReference {
  readonly id: string;
  readonly vectors: Int8Array;
  readonly rows: number;
  /** Row of segment `i`, or -1. */
  private readonly rowOf: Int32Array;

  constructor(id: string, { segments, vectors }: QuantisedVectors) {
    this.id = id;
    this.vectors = vectors;
    this.rows = segments.length;
    this.rowOf = new Int32Array((segments.at(-1) ?? -1) + 1).fill(-1);
    segments.forEach((segment, row) => {
      this.rowOf[segment] = row;
    });
  }

  /** Segments from the start of the recording to its last audible one. */
  get length(): number {
    return this.rowOf.length;
  }

  row(segment: number): number {
    return segment >= 0 && segment < this.rowOf.length ? this.rowOf[segment]! : -1;
  }
}

/** How many stored vectors, taken evenly from everything that was fetched, stand for chance. */
const CHANCE_SAMPLE = 192;
/** In a normal distribution this share lies more than so many deviations below the median. */
const LOW_SHARE = 0.1;
const LOW_DEVIATIONS = 1.28;
const LEAST_DEVIATION = 0.06;
/** Neighbouring segments of a held tone have a cosine of 1.000; those of music, which share their audio, 0.3 to 0.6. */
const SAME_SOUND = 0.95;
/** What the last of 20 hits reaches among 100,000 segments, in deviations; with some room above. */
const LEAST_DEVIATIONS = 3.4;
const MOST_DEVIATIONS = 4.5;

/**
 * Cosines between the upload and stored references, and what they are worth.
 *
 * What a cosine says depends on the upload segment: a drum loop or a held chord resembles everything. Each upload
 * segment is therefore measured against chance as it finds it itself, in a sample of the catalogue.
 */
export class Similarity {
  private readonly vectors: Int8Array;
  private readonly dimension: number;
  private readonly calibration: Calibration;
  private readonly sample: Int8Array;
  private readonly sampled: Float32Array;
  /** Mean and deviation of chance cosines per upload row; NaN until asked for. */
  private readonly chanceMean: Float32Array;
  private readonly chanceDeviation: Float32Array;

  constructor(upload: QuantisedVectors, references: readonly StoredReference[], calibration: Calibration) {
    const rows = upload.segments.length;
    this.vectors = upload.vectors;
    this.dimension = rows === 0 ? 0 : upload.vectors.length / rows;
    this.calibration = calibration;
    this.sample = sampleOf(references, this.dimension);
    this.sampled = new Float32Array(this.dimension === 0 ? 0 : this.sample.length / this.dimension);
    this.chanceMean = new Float32Array(rows).fill(Number.NaN);
    this.chanceDeviation = new Float32Array(rows).fill(Number.NaN);
  }

  /** Cosine of upload row `row` and a reference segment; NaN where nothing is stored. */
  cosine(row: number, reference: StoredReference, segment: number): number {
    const storedRow = reference.row(segment);
    return storedRow < 0
      ? Number.NaN
      : cosine(
          this.vectors,
          row * this.dimension,
          reference.vectors,
          storedRow * this.dimension,
          this.dimension,
        );
  }

  /** By how many standard deviations a cosine stands out of what chance gives this upload row. */
  deviations(row: number, cosine: number): number {
    if (Number.isNaN(this.chanceMean[row]!)) this.measureChance(row);
    return (cosine - this.chanceMean[row]!) / this.chanceDeviation[row]!;
  }

  /**
   * What the nearest strangers reach (`background`), within what a large catalogue of strangers could: in a small one
   * even they are far away, and where many copies of the same music are registered they are none.
   */
  strangers(background: number): number {
    const { chance } = this.calibration;
    if (!chance) return background;
    const { mean, deviation } = chance;
    return clamp(background, mean + LEAST_DEVIATIONS * deviation, mean + MOST_DEVIATIONS * deviation);
  }

  /** How many sounds upload rows are, one after the other: a held tone is one, however long it is. */
  sounds(rows: readonly number[]): number {
    const { vectors, dimension } = this;
    let [sounds, last] = [0, -1];
    for (const row of rows) {
      const isNew =
        last < 0 || cosine(vectors, last * dimension, vectors, row * dimension, dimension) < SAME_SOUND;
      if (!isNew) continue;
      sounds++;
      last = row;
    }
    return sounds;
  }

  /** Log-likelihood ratio, in nats, of "the same audio" to "chance". */
  evidence(deviations: number): number {
    return interpolate(this.calibration.evidence, deviations);
  }

  /** Median and lower spread, so that true matches within the sample (loops, copies) do not pass for chance. */
  private measureChance(row: number): void {
    const { dimension, sample, sampled } = this;
    for (let i = 0; i < sampled.length; i++) {
      sampled[i] = cosine(this.vectors, row * dimension, sample, i * dimension, dimension);
    }
    sampled.sort();
    const median = sampled[sampled.length >> 1] ?? 0;
    const low = sampled[Math.floor(sampled.length * LOW_SHARE)] ?? 0;
    let mean = median;
    let deviation = (median - low) / LOW_DEVIATIONS;
    const prior = this.calibration.chance;
    if (prior) {
      // A sample may hold little else than the music in question: it can shift what is known, not replace it.
      mean = clamp(mean, prior.mean - prior.deviation, prior.mean + prior.deviation);
      deviation = clamp(deviation, 0.7 * prior.deviation, 1.4 * prior.deviation);
    }
    this.chanceMean[row] = mean;
    this.chanceDeviation[row] = Math.max(LEAST_DEVIATION, deviation);
  }
}

const clamp = (x: number, low: number, high: number): number => Math.min(high, Math.max(low, x));

function sampleOf(references: readonly StoredReference[], dimension: number): Int8Array {
  const total = references.reduce((sum, reference) => sum + reference.rows, 0);
  const count = Math.min(CHANCE_SAMPLE, total);
  const sample = new Int8Array(count * dimension);
  let taken = 0;
  let before = 0;
  for (const { vectors, rows } of references) {
    for (; taken < count; taken++) {
      const row = Math.floor(((taken + 0.5) * total) / count) - before;
      if (row >= rows) break;
      sample.set(vectors.subarray(row * dimension, (row + 1) * dimension), taken * dimension);
    }
    before += rows;
  }
  return sample;
}

/** Millions of these make up the matching of an hour. In whole numbers it is exact, and vectors take a quarter of the memory. */
export function cosine(a: Int8Array, aStart: number, b: Int8Array, bStart: number, length: number): number {
  let sum0 = 0;
  let sum1 = 0;
  let i = 0;
  for (; i + 1 < length; i += 2) {
    sum0 = (sum0 + Math.imul(a[aStart + i]!, b[bStart + i]!)) | 0;
    sum1 = (sum1 + Math.imul(a[aStart + i + 1]!, b[bStart + i + 1]!)) | 0;
  }
  if (i < length) sum0 += Math.imul(a[aStart + i]!, b[bStart + i]!);
  return (sum0 + sum1) / (QUANTISED_ONE * QUANTISED_ONE);
}

/** A piecewise linear curve; flat beyond its ends. */
function interpolate({ at, nats }: Calibration['evidence'], x: number): number {
  const last = at.length - 1;
  if (!(x > at[0]!)) return nats[0]!;
  if (x >= at[last]!) return nats[last]!;
  let i = 1;
  while (x > at[i]!) i++;
  const share = (x - at[i - 1]!) / (at[i]! - at[i - 1]!);
  return nats[i - 1]! + share * (nats[i]! - nats[i - 1]!);
}
