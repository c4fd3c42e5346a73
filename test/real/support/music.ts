import { readFileSync } from 'node:fs';
import { encodeAudio as encodeToFile, music as pluckedMusic, temporaryFolder } from '../../support/audio.ts';

const RATE = 16_000;

/** Music of some seconds; `slice` takes seconds too. */
export class Music {
  readonly pcm: Float32Array;

  constructor(pcm: Float32Array) {
    this.pcm = pcm;
  }

  slice(fromSeconds: number, toSeconds: number): Music {
    return new Music(this.pcm.subarray(fromSeconds * RATE, toSeconds * RATE));
  }
}

export const music = (seconds: number, seed: number): Music => new Music(pluckedMusic(seconds, RATE, seed));

export const joined = (...parts: Music[]): Music =>
  new Music(Float32Array.from(parts.flatMap(({ pcm }) => [...pcm])));

/** The bytes of an audio file. */
export function encodeAudio({ pcm }: Music, format: 'flac' | 'mp3' = 'flac'): Uint8Array {
  using folder = temporaryFolder();
  const path = folder.file(`audio.${format}`);
  encodeToFile(path, [pcm], { format, sampleRate: RATE, ...(format === 'mp3' && { bitRate: 96_000 }) });
  return readFileSync(path);
}
