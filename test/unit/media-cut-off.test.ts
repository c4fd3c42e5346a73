import { readFileSync } from 'node:fs';
import { afterAll, describe, expect, it } from 'vitest';
import { type Bytes, isCutOff } from '../../functions/adapters/media/cut-off.ts';
import type { EncodeOptions } from '../../functions/adapters/media/encode.ts';
import { audioFile, music, seededRandom, temporaryFolder } from '../support/audio.ts';

const folder = temporaryFolder();
afterAll(folder.remove);

const tune = music(4, 16_000);

const bytesOf = (content: Buffer): Bytes => ({
  size: content.length,
  read: (offset, length) => content.subarray(Math.max(0, offset), Math.max(0, offset + length)),
});

describe('whether a file was cut off', () => {
  it.each<[string, string, Omit<EncodeOptions, 'sampleRate'>]>([
    ['MP3', 'mp3', { format: 'mp3' }],
    ['MP3 of MPEG-2', 'mp3', { format: 'mp3', fileRate: 22_050, bitRate: 32_000 }],
    ['MP3 of 48 kHz stereo', 'mp3', { format: 'mp3', fileRate: 48_000, channels: 2, bitRate: 320_000 }],
    ['ADTS', 'aac', { format: 'aac' }],
    ['Ogg Vorbis', 'ogg', { format: 'ogg' }],
    ['Ogg Opus', 'ogg', { format: 'opus' }],
    ['M4A', 'mov', { format: 'm4a' }],
    ['fragmented MP4', 'mov', { format: 'mp4', muxer: { movflags: 'frag_keyframe+empty_moov' } }],
    ['MKV', 'matroska', { format: 'mkv', picture: 'video' }],
    ['a live WebM', 'matroska', { format: 'webm', muxer: { live: '1' } }],
    ['WAV', 'wav', { format: 'wav' }],
    ['RF64', 'wav', { format: 'wav', muxer: { rf64: 'always' } }],
    ['Wave64', 'w64', { format: 'w64' }],
    ['AIFF', 'aiff', { format: 'aiff' }],
    ['CAF', 'caf', { format: 'caf' }],
  ])('%s', (name, container, options) => {
    const whole = readFileSync(audioFile(folder.file(name), tune, { sampleRate: 16_000, ...options }));
    const random = seededRandom(11);
    const cuts = Array.from({ length: 60 }, () => Math.floor(whole.length * (0.3 + 0.69 * random())));

    expect(isCutOff(bytesOf(whole), container)).toBe(false);
    const unnoticed = cuts.filter((cut) => !isCutOff(bytesOf(whole.subarray(0, cut)), container));
    expect(unnoticed).toEqual([]);
  });

  it('an MP3 without a summary can only be cut unnoticed between two frames', () => {
    const path = audioFile(folder.file('plain.mp3'), tune, {
      format: 'mp3',
      sampleRate: 16_000,
      bitRate: 32_000,
      muxer: { write_xing: '0', id3v2_version: '0' },
    });
    const whole = readFileSync(path);
    const frame = 144; // bytes of 36 ms at 32 kb/s
    const cuts = Array.from({ length: 10 * frame }, (_, i) => whole.length - 20 * frame + i);

    const unnoticed = cuts.filter((cut) => !isCutOff(bytesOf(whole.subarray(0, cut)), 'mp3'));

    expect(unnoticed.length).toBeGreaterThan(0);
    expect(unnoticed.filter((cut) => (whole.length - cut) % frame !== 0)).toEqual([]);
  });

  it('the last byte counts', () => {
    for (const [format, container] of [
      ['mp3', 'mp3'],
      ['ogg', 'ogg'],
      ['m4a', 'mov'],
      ['webm', 'matroska'],
      ['wav', 'wav'],
    ] as const) {
      const whole = readFileSync(
        audioFile(folder.file(`last.${format}`), tune, { format, sampleRate: 16_000 }),
      );

      expect(isCutOff(bytesOf(whole.subarray(0, -1)), container)).toBe(true);
    }
  });

  it('nothing that is too short or damaged makes it fail or hang', () => {
    const random = seededRandom(2);
    const junk = Buffer.from(Array.from({ length: 100_000 }, () => Math.floor(random() * 256)));
    for (const container of [
      'mp3',
      'aac',
      'ogg',
      'mov',
      'matroska',
      'wav',
      'w64',
      'aiff',
      'caf',
      'flac',
      'other',
    ]) {
      for (const content of [
        junk,
        Buffer.alloc(100_000),
        Buffer.alloc(100_000, 0xff),
        junk.subarray(0, 40),
      ]) {
        expect(isCutOff(bytesOf(content), container)).toBeTypeOf('boolean');
      }
    }
  });
});
