import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, describe, expect, it } from 'vitest';
import { MediaDecoder } from '../../functions/adapters/media/decoder.ts';
import { audioFile, decodeAll, music, seededRandom, sine, temporaryFolder } from '../support/audio.ts';

const RATE = 16_000;
const folder = temporaryFolder();
afterAll(folder.remove);

function fileOf(name: string, content: Uint8Array | string): string {
  const path = folder.file(name);
  writeFileSync(path, content);
  return path;
}

const noise = (bytes: number): Buffer => {
  const random = seededRandom(5);
  return Buffer.from(Array.from({ length: bytes }, () => Math.floor(random() * 256)));
};

describe('what is no audio', () => {
  it.each<[string, string, () => string]>([
    ['an empty file', 'EMPTY_FILE', () => fileOf('empty.mp3', '')],
    ['one byte', 'NOT_MEDIA', () => fileOf('byte.mp3', 'a')],
    ['text', 'NOT_MEDIA', () => fileOf('text.mp3', 'la la la\n'.repeat(5000))],
    ['noise', 'NOT_MEDIA', () => fileOf('noise.mp3', noise(200_000))],
    [
      'a page of HTML',
      'NOT_MEDIA',
      () => fileOf('page.mp3', `<html><body>${'<p>404'.repeat(500)}</body></html>`),
    ],
    ['a folder', 'NOT_MEDIA', () => folder.path],
    [
      'an ID3 tag and nothing else',
      'UNDECODABLE',
      () => fileOf('tag.mp3', Buffer.from(`ID3\x04\0\0\0\0\x02\x01${'\0'.repeat(257)}`)),
    ],
    ['MP4 without audio', 'NO_AUDIO', () => fileOf('mute.mp4', withoutAudio())],
  ])('%s is rejected as %s', async (_, code, makeFile) => {
    await expect(decodeAll(makeFile(), { sampleRate: RATE })).rejects.toMatchObject({
      name: 'RejectedAudioError',
      code,
      message: expect.stringMatching(/\w+ \w+ \w+/),
    });
  });

  it('a file that does not exist is no verdict on audio', async () => {
    await expect(decodeAll(folder.file('nowhere.mp3'), { sampleRate: RATE })).rejects.toMatchObject({
      code: 'ENOENT',
    });
  });

  it.skipIf(process.getuid?.() === 0)('nor is one without permission', async () => {
    const path = audioFile(folder.file('secret.wav'), sine(1, RATE, 440), {
      format: 'wav',
      sampleRate: RATE,
    });
    chmodSync(path, 0);

    await expect(decodeAll(path, { sampleRate: RATE })).rejects.toMatchObject({ code: 'EACCES' });
  });
});

describe('short and silent audio', () => {
  it.each(['mp3', 'm4a', 'opus', 'flac', 'wav'] as const)('%s of 0.2 s comes out whole', async (format) => {
    const path = audioFile(folder.file(`short.${format}`), music(0.2, RATE), { format, sampleRate: RATE });

    const { pcm, summary } = await decodeAll(path, { sampleRate: RATE });

    expect(pcm.length).toBe(3200);
    expect(summary).toEqual({ durationMs: 200, undecodable: [], truncated: false });
  });

  it('digital silence is audio', async () => {
    const path = audioFile(folder.file('silence.mp3'), new Float32Array(RATE), {
      format: 'mp3',
      sampleRate: RATE,
    });

    const { pcm } = await decodeAll(path, { sampleRate: RATE });

    expect(pcm.every((sample) => Math.abs(sample) < 1e-4)).toBe(true);
    expect(pcm.length).toBe(RATE);
  });

  it('a start beyond the end yields nothing, and the true length', async () => {
    const path = audioFile(folder.file('early.wav'), music(1, RATE), { format: 'wav', sampleRate: RATE });

    const { pcm, summary } = await decodeAll(path, { sampleRate: RATE, startSample: 50 * RATE });

    expect(pcm.length).toBe(0);
    expect(summary).toMatchObject({ durationMs: 1000, truncated: false });
  });
});

describe('names', () => {
  it.each([
    'with spaces and "quotes" and \'more\'.mp3',
    'line\nbreak.mp3',
    '🎵 emoji.mp3',
    '--version',
    'http:..mp3',
    'concat:a|b.mp3',
    '%d.mp3',
  ])('%j is only a name', async (name) => {
    const path = audioFile(folder.file('plain.mp3'), music(1, RATE), { format: 'mp3', sampleRate: RATE });

    const { summary } = await decodeAll(fileOf(name, readFileSync(path)), { sampleRate: RATE });

    expect(summary.durationMs).toBe(1000);
  });
});

describe('limits', () => {
  const tune = (seconds: number, channels = 1, sampleRate = RATE) =>
    audioFile(
      folder.file(`${seconds}-${channels}-${sampleRate}.wav`),
      new Array(channels).fill(music(seconds, RATE)),
      {
        format: 'wav',
        sampleRate: RATE,
        fileRate: sampleRate,
      },
    );

  it.each([
    ['bytes', 'TOO_LARGE', { maxBytes: 10_000 }, () => tune(1)],
    ['decoded time', 'TOO_LONG', { maxDurationMs: 3000 }, () => tune(4)],
    ['channels', 'UNSUPPORTED', { maxChannels: 2 }, () => tune(1, 3)],
    ['sample rate', 'UNSUPPORTED', { maxSampleRate: 48_000 }, () => tune(1, 1, 96_000)],
    ['waiting', 'DECODE_TIMEOUT', { graceMs: 1 }, () => tune(1)],
  ])('%s: more is rejected as %s', async (_, code, limits, makeFile) => {
    const decoded = decodeAll(makeFile(), { sampleRate: RATE }, new MediaDecoder(limits));

    await expect(decoded).rejects.toMatchObject({ name: 'RejectedAudioError', code });
  });

  it('a claim alone is no reason to refuse', async () => {
    const path = audioFile(folder.file('claim.flac'), music(2, RATE), { format: 'flac', sampleRate: RATE });
    const bytes = readFileSync(path);
    bytes[21] = bytes[21]! | 0x0f;

    const decoded = await decodeAll(fileOf('claim.flac', bytes), { sampleRate: RATE });

    expect(decoded.summary).toMatchObject({ durationMs: 2000, truncated: true });
  });
});

it('a header that asks for much memory gets what the limit leaves', async () => {
  // Arrange: frames of ALAC that claim to hold up to 16 million samples in each of two channels
  const stereo = [music(1, RATE), music(1, RATE)];
  const path = audioFile(folder.file('bomb.m4a'), stereo, { format: 'm4a', codec: 'alac', sampleRate: RATE });
  const bytes = readFileSync(path);
  bytes.writeUInt32BE(4096 * 4096, bytes.lastIndexOf('alac') + 8);
  const bomb = fileOf('bomb.m4a', bytes);

  // Act
  const refused = decodeAll(bomb, { sampleRate: RATE }, new MediaDecoder({ memoryMb: 100 }));
  const admitted = decodeAll(bomb, { sampleRate: RATE }, new MediaDecoder({ memoryMb: 1000 }));

  // Assert
  await expect(refused).rejects.toMatchObject({
    code: 'DECODER_CRASHED',
    message: expect.stringContaining('memory'),
  });
  expect((await admitted).summary.durationMs).toBe(1000);
});

describe('references to elsewhere', () => {
  it('playlists, scripts and manifests open no address and no file', async () => {
    // Arrange
    const asked: string[] = [];
    const server = createServer((request, response) => {
      asked.push(request.url ?? '');
      response.end(readFileSync(hidden));
    });
    const hidden = audioFile(folder.file('hidden.wav'), sine(3, RATE, 440), {
      format: 'wav',
      sampleRate: RATE,
    });
    await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
    const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hidden.wav`;
    const files = [hidden, `file:${hidden}`, address].flatMap((target, i) => [
      fileOf(`${i}.m3u8`, `#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n${target}\n#EXT-X-ENDLIST\n`),
      fileOf(`${i}.txt`, `ffconcat version 1.0\nfile '${target}'\n`),
      fileOf(
        `${i}.sdp`,
        `v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n`,
      ),
      fileOf(`${i}.mpd`, dashManifest(target)),
      fileOf(`${i}.ts`, `#EXTM3U\n#EXT-X-MAP:URI="${target}"\n#EXTINF:3,\n${target}\n`),
    ]);

    // Act
    const outcomes = await Promise.all(
      files.map((file) => decodeAll(file, { sampleRate: RATE }).catch((error) => error.code)),
    );

    // Assert
    server.close();
    expect(asked).toEqual([]);
    expect(outcomes).toEqual(files.map(() => 'NOT_MEDIA'));
  });

  it('a movie whose samples lie in another file is not followed there', async () => {
    // Arrange: the media data is in hidden.mov, and the data reference of the movie names it
    const bytes = readFileSync(
      audioFile(folder.file('hidden.mov'), sine(3, RATE, 440), {
        format: 'mov',
        codec: 'pcm_s16be',
        sampleRate: RATE,
      }),
    );
    const path = fileOf('reference.mov', withReference(bytes, folder.file('hidden.mov')));

    // Act
    const decoded = await decodeAll(path, { sampleRate: RATE }).catch((error) => error.code);

    // Assert
    if (typeof decoded === 'string') expect(decoded).toMatch(/UNDECODABLE|NOT_MEDIA|UNSUPPORTED/);
    else expect(decoded.pcm.every((sample: number) => sample === 0)).toBe(true);
  });
});

const dashManifest = (target: string): string =>
  '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT3S">' +
  `<Period><AdaptationSet mimeType="audio/mp4"><Representation id="1" bandwidth="1"><BaseURL>${target}</BaseURL>` +
  '</Representation></AdaptationSet></Period></MPD>';

/** An MP4 with video whose other track, the sound, is called free space. */
function withoutAudio(): Buffer {
  const path = audioFile(folder.file('loud.mp4'), music(1, RATE), {
    format: 'mp4',
    picture: 'video',
    sampleRate: RATE,
  });
  const bytes = readFileSync(path);
  bytes.write('free', bytes.indexOf('trak'));
  return bytes;
}

/** Blanks the media data of a QuickTime movie, and points its data reference to another file, as an alias record. */
function withReference(movie: Buffer, target: string): Buffer {
  const dref = movie.indexOf('dref') - 4;
  const entry = dref + 16;
  const alias = aliasRecord(target);
  const grown = alias.length - movie.readUInt32BE(entry);
  const changed = Buffer.concat([
    movie.subarray(0, entry),
    alias,
    movie.subarray(entry + movie.readUInt32BE(entry)),
  ]);
  for (const type of ['moov', 'trak', 'mdia', 'minf', 'dinf', 'dref']) {
    const at = type === 'dref' ? dref : movie.lastIndexOf(type, dref + 4) - 4;
    changed.writeUInt32BE(movie.readUInt32BE(at) + grown, at);
  }
  const mdat = changed.indexOf('mdat');
  changed.fill(0, mdat + 4, mdat - 4 + changed.readUInt32BE(mdat - 4));
  return changed;
}

function aliasRecord(target: string): Buffer {
  const path = Buffer.from(target);
  const fixed = Buffer.alloc(150); // volume, file name, dates
  const absolutePath = Buffer.concat([uint16(2), uint16(path.length), path, Buffer.alloc(path.length % 2)]);
  const body = Buffer.concat([fixed, absolutePath, uint16(0xffff), uint16(0)]);
  return Buffer.concat([uint32(body.length + 12), Buffer.from('alis'), uint32(0), body]);
}

function uint16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
