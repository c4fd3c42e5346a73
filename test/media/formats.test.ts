import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type AudioFormat, audioFile, decodeAll, lagOf, music, temporaryFolder } from '../support/audio.ts';

// Positions in the decoded audio decide where a detection is said to lie, so they are checked against the original.

const RATE = 16_000;
const SECONDS = 8;
const MS = RATE / 1000;

const folder = temporaryFolder();
let original: Float32Array;
let stereo: Float32Array[];

beforeAll(() => {
  original = music(SECONDS, RATE);
  const source = music(SECONDS, 44_100);
  stereo = [source, source];
});
afterAll(folder.remove);

interface Case {
  name: string;
  format: AudioFormat;
  codec?: string;
  bitRate?: number;
  fileRate?: number;
  channels?: number;
  picture?: 'video' | 'cover';
  muxer?: Record<string, string>;
  expected: { container: string; codec: string };
}

const CASES: Case[] = [
  { name: 'MP3', format: 'mp3', bitRate: 128_000, expected: { container: 'mp3', codec: 'mp3' } },
  {
    name: 'MP3 of 24 kb/s mono at 22 kHz',
    format: 'mp3',
    bitRate: 24_000,
    fileRate: 22_050,
    channels: 1,
    expected: { container: 'mp3', codec: 'mp3' },
  },
  { name: 'MP3 with a cover', format: 'mp3', picture: 'cover', expected: { container: 'mp3', codec: 'mp3' } },
  { name: 'M4A', format: 'm4a', expected: { container: 'mov', codec: 'aac' } },
  { name: 'M4A with a cover', format: 'm4a', picture: 'cover', expected: { container: 'mov', codec: 'aac' } },
  { name: 'MP4 with video', format: 'mp4', picture: 'video', expected: { container: 'mov', codec: 'aac' } },
  {
    name: 'fragmented MP4',
    format: 'mp4',
    muxer: { movflags: 'frag_keyframe+delay_moov+default_base_moof', frag_duration: '2000000' },
    expected: { container: 'mov', codec: 'aac' },
  },
  { name: 'Opus in MP4', format: 'mp4', codec: 'libopus', expected: { container: 'mov', codec: 'opus' } },
  {
    name: 'MOV with video and ALAC',
    format: 'mov',
    codec: 'alac',
    picture: 'video',
    expected: { container: 'mov', codec: 'alac' },
  },
  { name: 'Ogg Vorbis', format: 'ogg', expected: { container: 'ogg', codec: 'vorbis' } },
  { name: 'Ogg Opus', format: 'opus', bitRate: 48_000, expected: { container: 'ogg', codec: 'opus' } },
  {
    name: 'WebM with video and Opus of 24 kb/s',
    format: 'webm',
    bitRate: 24_000,
    picture: 'video',
    expected: { container: 'matroska', codec: 'opus' },
  },
  {
    name: 'MKV with video',
    format: 'mkv',
    picture: 'video',
    expected: { container: 'matroska', codec: 'vorbis' },
  },
  {
    name: 'MP3 in MKV',
    format: 'mkv',
    codec: 'libmp3lame',
    expected: { container: 'matroska', codec: 'mp3' },
  },
  {
    name: 'a live WebM, without lengths',
    format: 'webm',
    muxer: { live: '1' },
    expected: { container: 'matroska', codec: 'opus' },
  },
  { name: 'FLAC', format: 'flac', picture: 'cover', expected: { container: 'flac', codec: 'flac' } },
  { name: 'FLAC in Ogg', format: 'ogg', codec: 'flac', expected: { container: 'ogg', codec: 'flac' } },
  { name: 'WAV', format: 'wav', expected: { container: 'wav', codec: 'pcm_s16le' } },
  {
    name: 'WAV of 8 bits at 8 kHz mono',
    format: 'wav',
    codec: 'pcm_u8',
    fileRate: 8000,
    channels: 1,
    expected: { container: 'wav', codec: 'pcm_u8' },
  },
  {
    name: 'WAV of 8 channels at 192 kHz',
    format: 'wav',
    codec: 'pcm_s24le',
    fileRate: 192_000,
    channels: 8,
    expected: { container: 'wav', codec: 'pcm_s24le' },
  },
  {
    name: 'WAV of 64-bit floats',
    format: 'wav',
    codec: 'pcm_f64le',
    expected: { container: 'wav', codec: 'pcm_f64le' },
  },
  { name: 'Wave64', format: 'w64', expected: { container: 'w64', codec: 'pcm_s16le' } },
  { name: 'AIFF', format: 'aiff', expected: { container: 'aiff', codec: 'pcm_s16be' } },
  { name: 'CAF', format: 'caf', expected: { container: 'caf', codec: 'pcm_s16be' } },
];

describe('every format', () => {
  it.each(CASES)(
    '$name decodes to audio of the right length at the right time',
    async ({ name, expected, ...options }) => {
      // Arrange
      const path = audioFile(folder.file(`${name.replace('/', ' per ')} ö'" #.bin`), stereo, {
        sampleRate: 44_100,
        ...options,
      });

      // Act
      const { info, pcm, blocks, summary } = await decodeAll(path, { sampleRate: RATE });

      // Assert
      expect(info).toMatchObject({ ...expected, channels: options.channels ?? 2 });
      expect(summary).toMatchObject({ undecodable: [], truncated: false });
      expect(Math.abs(summary.durationMs - SECONDS * 1000)).toBeLessThan(30);
      expect(pcm.length).toBe(Math.round(summary.durationMs * MS));
      for (const at of [0.2, 3.7, 7.6]) {
        expect(Math.abs(lagOf(pcm, original, at * RATE))).toBeLessThanOrEqual(3 * MS);
      }
      blocks.slice(1).forEach((block, i) => {
        expect(block.startSample).toBe(blocks[i]!.startSample + blocks[i]!.pcm.length);
      });
    },
  );

  it('ADTS has no place for the delay of its encoder, and is late by less than two frames', async () => {
    const path = audioFile(folder.file('raw.aac'), stereo, { format: 'aac', sampleRate: 44_100 });

    const { info, pcm, summary } = await decodeAll(path, { sampleRate: RATE });

    expect(info).toMatchObject({ container: 'aac', codec: 'aac' });
    expect(summary).toMatchObject({ undecodable: [], truncated: false });
    expect(lagOf(pcm, original, 5 * RATE)).toBeGreaterThan(0);
    expect(lagOf(pcm, original, 5 * RATE)).toBeLessThan(50 * MS);
  });
});

describe('the level', () => {
  it('loud stereo is mixed without clipping, and stays in -1..1', async () => {
    const loud = Float32Array.from(stereo[0]!, (sample) => Math.sign(sample) * 0.99);
    const path = audioFile(folder.file('loud.wav'), [loud, loud], { format: 'wav', sampleRate: 44_100 });

    const { pcm } = await decodeAll(path, { sampleRate: 44_100 });

    expect(pcm.every((sample) => Math.abs(sample) <= 1)).toBe(true);
    expect(Math.abs(pcm[1000]!)).toBeCloseTo(0.99, 3);
  });

  it('a float WAV with NaN, infinity and values far beyond full scale yields silence there and limits', async () => {
    const wild = new Float32Array(RATE).fill(0.25);
    wild.fill(Number.NaN, 2000, 2100);
    wild.fill(Number.POSITIVE_INFINITY, 4000, 4100);
    wild.fill(1e30, 6000, 6100);
    const path = audioFile(folder.file('wild.wav'), wild, {
      format: 'wav',
      codec: 'pcm_f32le',
      sampleRate: RATE,
    });

    const { pcm } = await decodeAll(path, { sampleRate: 8000 });

    expect(pcm.every((sample) => Math.abs(sample) <= 1)).toBe(true);
    for (const quiet of [1025, 2025]) expect(Math.abs(pcm[quiet]!)).toBeLessThan(0.02);
    expect(pcm[3025]).toBeCloseTo(1, 1);
    for (const calm of [500, 1500, 2500, 3500]) expect(pcm[calm]).toBeCloseTo(0.25, 2);
  });

  it('sixteen channels are averaged', async () => {
    const channels = Array.from({ length: 16 }, (_, i) => new Float32Array(RATE).fill(i < 8 ? 0.5 : 0));
    const path = audioFile(folder.file('many.wav'), channels, { format: 'wav', sampleRate: RATE });

    const { info, pcm } = await decodeAll(path, { sampleRate: 8000 });

    expect(info.channels).toBe(16);
    expect(pcm[4000]).toBeCloseTo(0.25, 2);
  });
});

describe('tags', () => {
  it.each(['mp3', 'm4a', 'ogg', 'flac', 'mkv'] as const)(
    '%s: title, artist, album and date',
    async (format) => {
      const tags = { title: 'Fête — №5 ✓ 音', artist: 'A  B', album: 'Ωmega', date: '2021' };
      const path = audioFile(folder.file(`tags.${format}`), music(1, RATE), {
        format,
        sampleRate: RATE,
        tags,
      });

      const { info } = await decodeAll(path, { sampleRate: RATE });

      expect(info.tags).toMatchObject(tags);
      expect(Object.keys(info.tags)).not.toContain('encoder');
    },
  );

  it.each(['mp3', 'ogg', 'flac', 'mkv'] as const)('%s: ISRC', async (format) => {
    const name = format === 'mp3' ? 'TSRC' : 'ISRC';
    const tags = { [name]: 'GBAYE6800123' };
    const path = audioFile(folder.file(`isrc.${format}`), music(1, RATE), { format, sampleRate: RATE, tags });

    const { info } = await decodeAll(path, { sampleRate: RATE });

    expect(info.tags.isrc).toBe('GBAYE6800123');
  });
});
