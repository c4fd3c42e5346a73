import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type EncodeOptions, encodeAudio } from '../../functions/adapters/media/encode.ts';

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
 * lossy codecs, and correlates sharply with itself at one position only. The same seed gives the same audio.
 */
export function music(seconds: number, sampleRate = 16_000, seed = 1): Float32Array {
  const random = seededRandom(seed);
  const pcm = new Float32Array(Math.round(seconds * sampleRate));
  for (let i = 0; i < pcm.length; i++) pcm[i] = 0.01 * (random() - 0.5);
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
