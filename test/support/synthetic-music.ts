import { SegmentGrid } from '../../functions/core/segment-grid.ts';
import type { Hit, SegmentVectors } from '../../functions/core/segments.ts';

/**
 * Embeddings without audio, statistically like real ones: "music" is a random process in time, an embedding is its
 * mean over a segment's length. Neighbouring segments are as correlated as overlapping windows are, unrelated ones
 * share a style or nothing, and every cut, warp or overlay is made on the process, so that segments that straddle an
 * edge come out half one thing and half another, as with real audio.
 */
export const GRID = new SegmentGrid({ sampleRate: 16_000, segmentSamples: 36_000, hopSamples: 8_000 });
export const DIMENSION = 48;
/** Length of a frame of the process. */
const FRAME_MS = 50;
const SEGMENT_FRAMES = (GRID.segmentSamples * 1000) / GRID.sampleRate / FRAME_MS;
const STYLES = 6;
/** Share of the style in the music of one recording. */
const STYLE = 0.25;

/** Deterministic random numbers (mulberry32), uniform and normal. */
export function randomness(seed: number) {
  let state = seed >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
  const normal = () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
  return { uniform, normal };
}
export type Randomness = ReturnType<typeof randomness>;

/** The process: `frames * DIMENSION` values. */
export type Music = Float32Array;

export const framesOf = (music: Music): number => music.length / DIMENSION;

/** New music of some length, in one of a few styles. */
export function compose(seconds: number, random: Randomness): Music {
  const style = randomness(1000 + Math.floor(random.uniform() * STYLES));
  const flavour = Float32Array.from({ length: DIMENSION }, () => style.normal());
  const frames = Math.round((seconds * 1000) / FRAME_MS);
  // White noise has to be louder than the style, as averaging over a segment quietens it.
  const loudness = Math.sqrt(SEGMENT_FRAMES * 0.6);
  return Float32Array.from(
    { length: frames * DIMENSION },
    (_, i) => Math.sqrt(1 - STYLE) * loudness * random.normal() + Math.sqrt(STYLE) * flavour[i % DIMENSION]!,
  );
}

/** `seconds` of the upload, played from `fromSeconds` of the music at a speed. */
export function excerpt(music: Music, fromSeconds: number, seconds: number, speed = 1): Music {
  const frames = Math.round((seconds * 1000) / FRAME_MS);
  const out = new Float32Array(frames * DIMENSION);
  for (let frame = 0; frame < frames; frame++) {
    const source = Math.round((fromSeconds * 1000) / FRAME_MS + frame * speed);
    if (source < 0 || source >= framesOf(music)) throw new RangeError('the excerpt leaves the music');
    out.set(music.subarray(source * DIMENSION, (source + 1) * DIMENSION), frame * DIMENSION);
  }
  return out;
}

export function join(...pieces: Music[]): Music {
  const out = new Float32Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    out.set(piece, at);
    at += piece.length;
  }
  return out;
}

/** Adds something else (noise, speech, other music) at a level relative to the music's own, 1 = 0 dB. */
export function withNoise(music: Music, level: number, random: Randomness): Music {
  const noise = compose((framesOf(music) * FRAME_MS) / 1000, random);
  return music.map((value, i) => value + level * noise[i]!);
}

/** The embeddings of all whole segments. */
export function embed(music: Music): SegmentVectors {
  const hop = (GRID.hopSamples * 1000) / GRID.sampleRate / FRAME_MS;
  const count = Math.max(0, 1 + Math.floor((framesOf(music) - SEGMENT_FRAMES) / hop));
  const vectors = new Float32Array(count * DIMENSION);
  for (let segment = 0; segment < count; segment++) {
    const row = vectors.subarray(segment * DIMENSION, (segment + 1) * DIMENSION);
    for (let frame = 0; frame < SEGMENT_FRAMES; frame++) {
      const weight = Math.sin((Math.PI * (frame + 0.5)) / SEGMENT_FRAMES);
      const at = (segment * hop + frame) * DIMENSION;
      for (let d = 0; d < DIMENSION; d++) row[d]! += weight * music[at + d]!;
    }
    normalise(row);
  }
  return { segments: Uint32Array.from({ length: count }, (_, i) => i), vectors };
}

function normalise(row: Float32Array): void {
  const length = Math.hypot(...row) || 1;
  for (let d = 0; d < row.length; d++) row[d]! /= length;
}

/** A catalogue with exact search. */
export class ExactCatalogue {
  readonly references = new Map<string, SegmentVectors>();

  add(referenceId: string, segments: SegmentVectors): this {
    this.references.set(referenceId, segments);
    return this;
  }

  /** The `k` nearest segments for each query row, best first. */
  search(queries: Float32Array, k: number): Hit[][] {
    return Array.from({ length: queries.length / DIMENSION }, (_, row) =>
      this.nearest(queries.subarray(row * DIMENSION, (row + 1) * DIMENSION), k),
    );
  }

  private nearest(query: Float32Array, k: number): Hit[] {
    const best: Hit[] = [];
    let bar = Number.NEGATIVE_INFINITY;
    for (const [referenceId, { segments, vectors }] of this.references) {
      for (let row = 0; row < segments.length; row++) {
        let similarity = 0;
        for (let d = 0, at = row * DIMENSION; d < DIMENSION; d++) similarity += query[d]! * vectors[at + d]!;
        if (similarity <= bar && best.length === k) continue;
        let place = best.length;
        while (place > 0 && best[place - 1]!.similarity < similarity) place--;
        best.splice(place, 0, { referenceId, segment: segments[row]!, similarity });
        if (best.length > k) best.pop();
        bar = best.at(-1)!.similarity;
      }
    }
    return best;
  }
}
