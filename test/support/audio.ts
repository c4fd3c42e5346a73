import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MediaDecoder } from '../../functions/adapters/media/decoder.ts';
import { type EncodeOptions, encodeAudio } from '../../functions/adapters/media/encode.ts';
import type { DecodeOptions, Decoder, PcmBlock } from '../../functions/ports/decoder.ts';

export { type AudioFormat, encodeAudio } from '../../functions/adapters/media/encode.ts';

/** A folder for the files of one suite; `[Symbol.dispose]` or `remove()` deletes it. */
export function temporaryFolder(): { path: string; file(name: string): string; remove(): void } & Disposable {
  const path = mkdtempSync(join(tmpdir(), 'refrain-'));
  const remove = () => rmSync(path, { recursive: true, force: true });
  return { path, file: (name) => join(path, name), remove, [Symbol.dispose]: remove };
}

/** Random numbers 0..1 that are the same in every run (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * Mono audio that is never silent and never repeats: plucked notes at random pitches over a little noise. It survives
 * lossy codecs, and correlates sharply with itself at one position only. The same seed gives the same
 * tune at every rate.
 */
export function music(seconds: number, sampleRate = 16_000, seed = 1): Float32Array {
  const random = seededRandom(seed);
  const noise = seededRandom(seed + 1);
  const pcm = Float32Array.from({ length: Math.round(seconds * sampleRate) }, () => 0.01 * (noise() - 0.5));
  for (let start = 0; start < seconds; start += 0.05 + 0.2 * random()) {
    const hertz = 110 * 2 ** (Math.floor(random() * 48) / 12);
    pluck(pcm, sampleRate, start, hertz, 0.05 + 0.1 * random());
  }
  return pcm.map((sample) => Math.tanh(sample));
}

function pluck(pcm: Float32Array, sampleRate: number, start: number, hertz: number, loudness: number): void {
  const first = Math.round(start * sampleRate);
  const last = Math.min(pcm.length, first + Math.round(0.6 * sampleRate));
  for (let partial = 1; partial <= 3; partial++) {
    const step = (2 * Math.PI * hertz * partial) / sampleRate;
    if (step >= Math.PI) break;
    for (let i = first; i < last; i++) {
      const age = (i - first) / sampleRate;
      pcm[i]! += (loudness / partial) * Math.sin(step * (i - first)) * Math.exp(-8 * age);
    }
  }
}

/** Sounds like no music, so that an excerpt between it has a beginning and an end. */
export function hiss(seconds: number, sampleRate = 16_000): Float32Array {
  const random = seededRandom(7);
  return Float32Array.from({ length: seconds * sampleRate }, () => 0.1 * (random() - 0.5));
}

export function sine(seconds: number, sampleRate: number, hertz: number, amplitude = 0.5): Float32Array {
  const step = (2 * Math.PI * hertz) / sampleRate;
  return Float32Array.from(
    { length: Math.round(seconds * sampleRate) },
    (_, i) => amplitude * Math.sin(step * i),
  );
}

/** Encodes PCM (one array for mono, else one per channel) and gives the path back. */
export function audioFile(path: string, pcm: Float32Array | Float32Array[], options: EncodeOptions): string {
  encodeAudio(path, Array.isArray(pcm) ? pcm : [pcm], options);
  return path;
}

/** Everything that a decoder makes of a file, in one piece. */
export async function decodeAll(path: string, options: DecodeOptions, decoder: Decoder = new MediaDecoder()) {
  const { info, blocks, summary } = await decoder.open(path, options);
  const parts: PcmBlock[] = [];
  for await (const block of blocks) parts.push(block);
  const pcm = new Float32Array(parts.reduce((sum, part) => sum + part.pcm.length, 0));
  const first = parts[0]?.startSample ?? 0;
  for (const part of parts) pcm.set(part.pcm, part.startSample - first);
  return { info, pcm, startSample: first, blocks: parts, summary: await summary };
}

/**
 * By how many samples a stretch of `heard` lies later than it does in `original`: the peak of the cross-correlation
 * within `reach` samples to both sides.
 */
export function lagOf(
  heard: Float32Array,
  original: Float32Array,
  at: number,
  { length = 4000, reach = 800 } = {},
): number {
  let best = { lag: Number.NaN, similarity: -Infinity };
  for (let lag = -reach; lag <= reach; lag++) {
    let product = 0;
    let energy = 1e-9;
    for (let i = 0; i < length; i++) {
      const sample = heard[at + lag + i] ?? 0;
      product += sample * original[at + i]!;
      energy += sample * sample;
    }
    const similarity = product / Math.sqrt(energy);
    if (similarity > best.similarity) best = { lag, similarity };
  }
  return best.lag;
}

/** How far `actual` is from `expected`, in dB below the level of `expected`: -60 is one part in a thousand. */
export function differenceDb(actual: Float32Array, expected: Float32Array): number {
  let difference = 0;
  let energy = 0;
  for (let i = 0; i < expected.length; i++) {
    difference += ((actual[i] ?? 0) - expected[i]!) ** 2;
    energy += expected[i]! ** 2;
  }
  return 10 * Math.log10((difference + 1e-20) / (energy + 1e-20));
}
