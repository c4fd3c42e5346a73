import { readFileSync, writeFileSync } from 'node:fs';
import { afterAll, describe, expect, it } from 'vitest';
import { type EncodeOptions, encodeAudio } from '../../functions/adapters/media/encode.ts';
import { RejectedAudioError } from '../../functions/core/errors.ts';
import { audioFile, decodeAll, lagOf, music, seededRandom, temporaryFolder } from '../support/audio.ts';

const RATE = 16_000;
const MS = RATE / 1000;
const folder = temporaryFolder();
afterAll(folder.remove);

const original = music(20, RATE);

function encoded(name: string, options: Omit<EncodeOptions, 'sampleRate'>, seconds = 20): Buffer {
  const path = audioFile(folder.file(name), original.subarray(0, seconds * RATE), {
    sampleRate: RATE,
    ...options,
  });
  return readFileSync(path);
}

function fileOf(name: string, bytes: Uint8Array): string {
  const path = folder.file(name);
  writeFileSync(path, bytes);
  return path;
}

describe('a file that was cut off', () => {
  it.each<[string, Omit<EncodeOptions, 'sampleRate'>]>([
    ['mp3', { format: 'mp3' }],
    ['mp3 without a summary', { format: 'mp3', muxer: { write_xing: '0' } }],
    ['m4a with its index first', { format: 'm4a', muxer: { movflags: 'faststart' } }],
    ['mp4 with its index last', { format: 'mp4', picture: 'video' }],
    ['ogg', { format: 'ogg' }],
    ['opus', { format: 'opus' }],
    ['flac', { format: 'flac' }],
    ['wav', { format: 'wav' }],
    ['webm', { format: 'webm', picture: 'video' }],
    ['live webm', { format: 'webm', muxer: { live: '1' } }],
  ])(
    '%s: at ten random places it is rejected or called truncated',
    async (name, options) => {
      // Arrange
      const bytes = encoded(`whole ${name}`, options, 4);
      const random = seededRandom(7);
      const cuts = Array.from({ length: 10 }, () => 1 + Math.floor(random() * (bytes.length - 1)));

      // Act
      const outcomes = await Promise.all(
        cuts.map(async (cut) => {
          const path = fileOf(`${name} ${cut}`, bytes.subarray(0, cut));
          const decoded = await decodeAll(path, { sampleRate: RATE }).catch((error: unknown) => error);
          if (decoded instanceof RejectedAudioError) return { cut, rejected: true };
          if (decoded instanceof Error) throw decoded;
          return { cut, truncated: (decoded as Awaited<ReturnType<typeof decodeAll>>).summary.truncated };
        }),
      );

      // Assert
      expect(outcomes.filter((outcome) => !outcome.rejected && !outcome.truncated)).toEqual([]);
    },
    120_000,
  );

  it('an MP4 without its index is rejected with a sentence that says so', async () => {
    const bytes = encoded('index-last.mp4', { format: 'mp4' }, 2);
    const path = fileOf('no-index.mp4', bytes.subarray(0, bytes.length / 2));

    await expect(decodeAll(path, { sampleRate: RATE })).rejects.toMatchObject({
      code: 'UNDECODABLE',
      message: expect.stringContaining('without its index (moov)'),
    });
  });
});

describe('what only looks cut', () => {
  it('tags and junk behind the last frame of an MP3 are no audio', async () => {
    const id3v1 = Buffer.alloc(128);
    id3v1.write('TAGtitle');
    const bytes = encoded('clean.mp3', { format: 'mp3', muxer: { write_xing: '0' } }, 5);

    for (const tail of [id3v1, Buffer.alloc(5000), Buffer.from('junk '.repeat(300))]) {
      const { summary } = await decodeAll(fileOf('tailed.mp3', Buffer.concat([bytes, tail])), {
        sampleRate: RATE,
      });
      expect(summary).toMatchObject({ truncated: false, undecodable: [] });
      expect(Math.abs(summary.durationMs - 5000)).toBeLessThan(150);
    }
  });

  it('two MP3s in one file are decoded to the end of the second', async () => {
    const bytes = encoded('half.mp3', { format: 'mp3' }, 5);

    const { summary } = await decodeAll(fileOf('double.mp3', Buffer.concat([bytes, bytes])), {
      sampleRate: RATE,
    });

    expect(summary.durationMs).toBeGreaterThan(9900);
  });

  it('AAC whose channels become fewer is all heard', async () => {
    const stereo = audioFile(folder.file('stereo.aac'), [original, original], {
      format: 'aac',
      sampleRate: RATE,
    });
    const bytes = Buffer.concat([readFileSync(stereo), encoded('mono.aac', { format: 'aac' })]);

    const { pcm, summary } = await decodeAll(fileOf('both.aac', bytes), { sampleRate: RATE });

    expect(Math.abs(summary.durationMs - 40_000)).toBeLessThan(400);
    expect(summary).toMatchObject({ undecodable: [], truncated: false });
    const [first, second] = [pcm.subarray(RATE, 19 * RATE), pcm.subarray(21 * RATE, 39 * RATE)];
    expect(energyOf(second) / energyOf(first)).toBeCloseTo(1, 1);
  });

  it('two Ogg files in one are decoded to the end of the second', async () => {
    const bytes = encoded('half.ogg', { format: 'ogg' }, 5);

    const { summary } = await decodeAll(fileOf('double.ogg', Buffer.concat([bytes, bytes])), {
      sampleRate: RATE,
    });

    expect(summary.truncated).toBe(false);
    expect(Math.abs(summary.durationMs - 10_000)).toBeLessThan(200);
  });
});

describe('a file with a hole in the middle', () => {
  it.each<[string, Omit<EncodeOptions, 'sampleRate'>]>([
    ['m4a', { format: 'm4a' }],
    ['ogg', { format: 'ogg' }],
    ['opus', { format: 'opus' }],
    ['flac', { format: 'flac' }],
    ['mkv', { format: 'mkv', codec: 'aac' }],
    ['mp3 in mkv', { format: 'mkv', codec: 'libmp3lame' }],
    ['webm', { format: 'webm' }],
  ])('%s: it is told, comes out as zeros, and what follows keeps its time', async (name, options) => {
    // Arrange
    const bytes = encoded(`sound.${name}`, options);
    const random = seededRandom(3);
    for (let i = Math.floor(bytes.length * 0.4); i < bytes.length * 0.5; i++)
      bytes[i] = Math.floor(random() * 256);

    // Act
    const { pcm, blocks, summary } = await decodeAll(fileOf(`holed.${name}`, bytes), { sampleRate: RATE });

    // Assert
    const lost = summary.undecodable.reduce((sum, { startMs, endMs }) => sum + endMs - startMs, 0);
    expect(lost).toBeGreaterThan(500);
    expect(lost).toBeLessThan(8000);
    for (const { startMs, endMs } of summary.undecodable) {
      expect(startMs).toBeGreaterThan(6000);
      expect(endMs).toBeLessThan(16_000);
      expect(
        pcm.subarray(Math.ceil(startMs * MS), Math.floor(endMs * MS)).every((sample) => sample === 0),
      ).toBe(true);
    }
    expect(blocks.flatMap((block) => block.undecodable ?? [])).toEqual(summary.undecodable);
    expect(Math.abs(lagOf(pcm, original, 3 * RATE))).toBeLessThanOrEqual(3 * MS);
    expect(Math.abs(lagOf(pcm, original, 17 * RATE))).toBeLessThanOrEqual(3 * MS);
    expect(Math.abs(summary.durationMs - 20_000)).toBeLessThan(100);
  });
});

describe('a header that claims too much', () => {
  const claims: [string, () => string][] = [
    [
      'FLAC, a million seconds',
      () => {
        const bytes = encoded('claim.flac', { format: 'flac' }, 3);
        bytes[21] = bytes[21]! | 0x0f; // the upper bits of the 36-bit number of samples
        return fileOf('claim.flac', bytes);
      },
    ],
    [
      'MKV, 10^9 seconds',
      () => {
        const bytes = encoded('claim.mkv', { format: 'mkv', picture: 'video' }, 3);
        bytes.writeDoubleBE(1e12, bytes.indexOf(Buffer.from('448988', 'hex')) + 3);
        return fileOf('claim.mkv', bytes);
      },
    ],
    [
      'MP3, four billion frames',
      () => {
        const bytes = encoded('claim.mp3', { format: 'mp3' }, 3);
        bytes.writeUInt32BE(0xffff_ffff, Math.max(bytes.indexOf('Xing'), bytes.indexOf('Info')) + 8);
        return fileOf('claim.mp3', bytes);
      },
    ],
    [
      'WAV, four gigabytes',
      () => {
        const bytes = encoded('claim.wav', { format: 'wav' }, 3);
        bytes.writeUInt32LE(0xefff_0000, bytes.indexOf('data') + 4);
        return fileOf('claim.wav', bytes);
      },
    ],
    [
      'MP4, 10^9 seconds',
      () => {
        const bytes = encoded('claim.m4a', { format: 'm4a' }, 3);
        bytes.writeUInt32BE(4, bytes.indexOf('mvhd') + 16); // ticks in a second
        bytes.writeUInt32BE(4_000_000_000, bytes.indexOf('mvhd') + 20);
        return fileOf('claim.m4a', bytes);
      },
    ],
  ];

  it.each(claims)('%s: is decoded as far as it goes, and called truncated', async (_, makeFile) => {
    const { summary } = await decodeAll(makeFile(), { sampleRate: RATE });

    expect(summary.truncated).toBe(true);
    expect(Math.abs(summary.durationMs - 3000)).toBeLessThan(100);
  });
});

it('timestamps that jump for hours come out as no hours of silence', async () => {
  // Arrange: in an Ogg file of unknown length, every page after the middle is dated a day later
  const path = folder.file('jump.ogg');
  encodeAudio(path, [original], { format: 'ogg', sampleRate: RATE });
  const bytes = readFileSync(path);

  // Act
  const jumped = fileOf('jumped.ogg', dateOggPages(bytes, 24 * 3600 * RATE));
  const { summary } = await decodeAll(jumped, { sampleRate: RATE });

  // Assert
  expect(Math.abs(summary.durationMs - 20_000)).toBeLessThan(200);
});

/** Adds samples to the position of every page in the second half, and mends the checksums. */
function dateOggPages(bytes: Buffer, samples: number): Buffer {
  for (let at = 0; at < bytes.length; ) {
    const segments = bytes[at + 26]!;
    const body = bytes.subarray(at + 27, at + 27 + segments).reduce((sum, size) => sum + size, 0);
    const page = bytes.subarray(at, at + 27 + segments + body);
    if (at > bytes.length / 2) {
      page.writeBigInt64LE(page.readBigInt64LE(6) + BigInt(samples), 6);
      page.writeUInt32LE(0, 22);
      page.writeUInt32LE(oggChecksum(page), 22);
    }
    at += page.length;
  }
  return bytes;
}

function oggChecksum(page: Uint8Array): number {
  let crc = 0;
  for (const byte of page) {
    crc ^= byte << 24;
    for (let bit = 0; bit < 8; bit++) crc = (crc << 1) ^ (crc < 0 ? 0x04c11db7 : 0);
  }
  return crc >>> 0;
}

const energyOf = (pcm: Float32Array): number => pcm.reduce((sum, sample) => sum + sample * sample, 0);
