import { readFileSync } from 'node:fs';
import type { EncodeOptions } from '../../../functions/adapters/media/encode.ts';
import {
  encodeAudio as encodeToFile,
  hiss,
  music as pluckedMusic,
  temporaryFolder,
} from '../../support/audio.ts';

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

/** Noise, which resembles no music: a match beside it ends where the music does. */
export const noise = (seconds: number): Music => new Music(hiss(seconds, RATE));

export const joined = (...parts: Music[]): Music =>
  new Music(Float32Array.from(parts.flatMap(({ pcm }) => [...pcm])));

/** The bytes of an audio file. */
export const encodeAudio = (sound: Music, format: 'flac' | 'mp3' = 'flac'): Uint8Array =>
  encoded(sound, { format, ...(format === 'mp3' && { bitRate: 96_000 }) });

const PART_BIT_RATE = 24_000;

/** A part of an MP3 file: parts one after the other are a file of any length, without the time to encode it. */
export const encodePart = (sound: Music): Uint8Array =>
  encoded(sound, { format: 'mp3', bitRate: PART_BIT_RATE, muxer: { write_xing: '0', id3v2_version: '0' } });

/** How long parts play together, ms: each of them is a little longer than what it was made of. */
export const playingMs = (parts: Uint8Array): number => (parts.length * 8000) / PART_BIT_RATE;

function encoded({ pcm }: Music, options: Omit<EncodeOptions, 'sampleRate'>): Uint8Array {
  using folder = temporaryFolder();
  const path = folder.file(`audio.${options.format}`);
  encodeToFile(path, [pcm], { ...options, sampleRate: RATE });
  return readFileSync(path);
}
