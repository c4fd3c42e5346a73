import type { SegmentGrid } from '../segment-grid.ts';
import { quantise, type SegmentVectors } from '../segments.ts';
import type { MatchedSpan } from './index.ts';
import { cosine, type StoredReference } from './similarity.ts';
import { WAVEFORM_RATE, Waveform } from './waveform.ts';

// A model knows music that was sped up or slowed down by little. By more, it has an idea of what it might be, and is
// not sure. Played back at the speed of the original, the same music is as clear as any; chance is no clearer than before.

/** The speeds to try: none within the model's reach is further than 5 % from one of these or from 1. */
export const OTHER_SPEEDS = [0.82, 0.905, 1.105, 1.22];
/** What to try around the best of them, as factors. */
export const FINER_SPEEDS = [0.975, 1.025];
/** By how much the mean cosine has to rise: it varies by half as much from one hearing to the next. */
export const LEAST_GAIN = 0.06;

/** Doubts that are looked into: so many in any upload, and one more in so many minutes; the best first. */
const FEW = 2;
const MINUTES_PER_DOUBT = 3;
const MOST = 8;

/**
 * The possible matches that are worth another hearing: those that are not sure, where nothing else is.
 * @param threshold the confidence of a sure match
 */
export function doubtful(spans: readonly MatchedSpan[], threshold: number, uploadMs: number): MatchedSpan[] {
  const sure = spans.filter(({ confidence }) => confidence >= threshold);
  const most = Math.min(MOST, FEW + Math.floor(uploadMs / 60_000 / MINUTES_PER_DOUBT));
  return spans
    .filter((span) => span.confidence < threshold && !isCovered(span, sure))
    .sort((a, b) => b.confidence - a.confidence)
    .slice(0, most);
}

/** Whether others explain half of a span's stretch of the upload already. */
export function isCovered(span: MatchedSpan, others: readonly MatchedSpan[]): boolean {
  const covered = others.reduce(
    (sum, { uploadStartMs, uploadEndMs }) =>
      sum +
      Math.max(0, Math.min(uploadEndMs, span.uploadEndMs) - Math.max(uploadStartMs, span.uploadStartMs)),
    0,
  );
  return covered >= (span.uploadEndMs - span.uploadStartMs) / 2;
}

/** A stretch of the upload in memory, at a rate above the model's, to be played at any speed. */
export class Stretch {
  static readonly OVERSAMPLING = 2;
  readonly fromMs: number;
  readonly pcm: Float32Array;
  readonly grid: SegmentGrid;
  #waveform: Waveform | undefined;

  /** @param pcm mono, at `OVERSAMPLING` times the model's rate, beginning `fromMs` into the upload */
  constructor(fromMs: number, pcm: Float32Array, grid: SegmentGrid) {
    this.fromMs = fromMs;
    this.pcm = pcm;
    this.grid = grid;
  }

  get toMs(): number {
    return this.fromMs + (this.pcm.length / this.grid.sampleRate / Stretch.OVERSAMPLING) * 1000;
  }

  /** All of it, to be compared with recordings at their own speed; made once, as several doubts may share a stretch. */
  get waveform(): Waveform {
    const factor = (this.grid.sampleRate * Stretch.OVERSAMPLING) / WAVEFORM_RATE;
    this.#waveform ??= new Waveform(resampled(this.pcm, factor, 0, factor));
    return this.#waveform;
  }

  /**
   * What is heard from `fromMs` to `toMs` when an upload that plays `speed` times as fast as the original is slowed down to it.
   * @returns mono PCM at the model's rate, whole segments only; one second of it is `1 / speed` seconds of the upload
   */
  played(speed: number, fromMs: number, toMs: number): Float32Array {
    const { grid, pcm } = this;
    const perMs = (grid.sampleRate * Stretch.OVERSAMPLING) / 1000;
    const start = Math.max(0, (fromMs - this.fromMs) * perMs);
    const end = Math.min(pcm.length - 1, (toMs - this.fromMs) * perMs);
    const stride = Stretch.OVERSAMPLING / speed;
    const samples = grid.samplesFor(grid.segmentsIn(Math.max(0, Math.floor((end - start) / stride))));
    return resampled(pcm, Stretch.OVERSAMPLING, start, stride, samples);
  }
}

/**
 * Every `stride`th sample from `start` on, both of which may lie between two; without what does not fit into one sample
 * of `factor`, which would fold back.
 */
function resampled(
  pcm: Float32Array,
  factor: number,
  start: number,
  stride: number,
  samples = Math.floor(pcm.length / stride),
): Float32Array {
  const kernels = kernelsFor(factor);
  const half = kernels[0]!.length >> 1;
  const out = new Float32Array(samples);
  for (let n = 0; n < samples; n++) {
    const at = start + n * stride;
    const nearest = Math.round(at);
    const kernel = kernels[Math.round((at - nearest + 0.5) * PHASES)]!;
    const first = nearest - half;
    const end = Math.min(kernel.length, pcm.length - first);
    let sum = 0;
    for (let i = Math.max(0, -first); i < end; i++) sum += kernel[i]! * pcm[first + i]!;
    out[n] = sum;
  }
  return out;
}

const LOBES = 10;
/** Places between two samples that have a kernel. */
const PHASES = 32;
const KERNELS = new Map<number, Float32Array[]>();

/** Sincs under a Hann window, for places from half a sample before to half a sample behind the nearest one. */
function kernelsFor(factor: number): Float32Array[] {
  const made =
    KERNELS.get(factor) ?? Array.from({ length: PHASES + 1 }, (_, p) => lowPass(factor, p / PHASES - 0.5));
  KERNELS.set(factor, made);
  return made;
}

function lowPass(factor: number, place: number): Float32Array {
  const half = (LOBES / 2) * factor;
  const kernel = Float32Array.from({ length: 2 * half + 1 }, (_, i) => {
    const x = (i - half - place) / factor;
    const sinc = x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
    return sinc * Math.cos((Math.PI * (i - half - place)) / (2 * half + 2)) ** 2;
  });
  const sum = kernel.reduce((total, x) => total + x, 0);
  return kernel.map((x) => x / sum);
}

/** What of a span is heard at each of the speeds: its middle, of this length if the upload has it. */
const EXCERPT_MS = 8_000;

export interface Excerpt {
  fromMs: number;
  toMs: number;
  /** The segment of the reference that the first segment of the excerpt is, if the speed is right. */
  firstSegment: number;
}

/** The middle of a span, begun such that its segments fall onto those of the reference when it is played at `speed`. */
export function excerptOf(span: MatchedSpan, speed: number, grid: SegmentGrid, stretch: Stretch): Excerpt {
  const middleMs = (span.uploadStartMs + span.uploadEndMs) / 2;
  const referenceMs = (span.referenceStartMs + span.referenceEndMs) / 2;
  const earliestMs = Math.max(stretch.fromMs, middleMs - EXCERPT_MS / 2);
  const toMs = Math.min(stretch.toMs, middleMs + EXCERPT_MS / 2);
  const firstSegment = Math.ceil((referenceMs - (middleMs - earliestMs) * speed) / grid.hopMs);
  const fromMs = middleMs - (referenceMs - firstSegment * grid.hopMs) / speed;
  return { fromMs, toMs, firstSegment };
}

/** Segments that must be comparable for a likeness to mean anything. */
const LEAST_SEGMENTS = 3;

/** Mean cosine of an excerpt and the reference from `firstSegment` on, or one segment beside it; -1 if there is too little. */
export function likeness(
  { segments, vectors }: SegmentVectors,
  reference: StoredReference,
  firstSegment: number,
): number {
  const heard = quantise(vectors);
  const dimension = segments.length === 0 ? 0 : heard.length / segments.length;
  const beside = [-1, 0, 1].map((shift) => {
    let [sum, count] = [0, 0];
    segments.forEach((segment, row) => {
      const stored = reference.row(firstSegment + segment + shift);
      if (stored < 0) return;
      sum += cosine(heard, row * dimension, reference.vectors, stored * dimension, dimension);
      count++;
    });
    return count < LEAST_SEGMENTS ? -1 : sum / count;
  });
  return Math.max(...beside);
}

/** A span that was found in `fromMs...` of the upload, played at `speed`, as a span of the upload itself. */
export function asUploaded(span: MatchedSpan, speed: number, fromMs: number): MatchedSpan {
  return {
    ...span,
    uploadStartMs: fromMs + span.uploadStartMs / speed,
    uploadEndMs: fromMs + span.uploadEndMs / speed,
    speed: span.speed * speed,
  };
}
