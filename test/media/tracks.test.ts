import { AV_DISPOSITION_COMMENT, AV_DISPOSITION_DEFAULT, type AVDisposition } from 'node-av/constants';
import { FFmpegError, FormatContext, Packet } from 'node-av/lib';
import { afterAll, describe, expect, it } from 'vitest';
import { MediaDecoder } from '../../functions/adapters/media/decoder.ts';
import { audioFile, decodeAll, sine, temporaryFolder } from '../support/audio.ts';

const RATE = 16_000;
const folder = temporaryFolder();
afterAll(folder.remove);

interface Track {
  hertz: number;
  channels?: number;
  seconds?: number;
  disposition?: AVDisposition;
}

const NONE = 0 as AVDisposition;

describe('the main track', () => {
  it.each<[string, Track[]]>([
    ['the default one', [{ hertz: 300, channels: 2, disposition: NONE }, { hertz: 700 }]],
    [
      'programme before commentary',
      [
        {
          hertz: 300,
          channels: 2,
          disposition: (AV_DISPOSITION_DEFAULT | AV_DISPOSITION_COMMENT) as AVDisposition,
        },
        { hertz: 700 },
      ],
    ],
    ['the one with most channels', [{ hertz: 300 }, { hertz: 700, channels: 2 }, { hertz: 500 }]],
    ['the first of equals', [{ hertz: 700 }, { hertz: 300 }]],
  ])('is %s', async (name, tracks) => {
    const path = withTracks(folder.file(`${name}.mkv`), tracks);

    const { pcm } = await decodeAll(path, { sampleRate: RATE });

    expect(pitchOf(pcm)).toBeCloseTo(700, -1);
  });
});

it('more tracks than are accepted are not looked into', async () => {
  const path = withTracks(folder.file('many.mkv'), [{ hertz: 300 }, { hertz: 500 }, { hertz: 700 }]);

  const decoded = decodeAll(path, { sampleRate: RATE }, new MediaDecoder({ maxStreams: 2 }));

  await expect(decoded).rejects.toMatchObject({
    code: 'UNSUPPORTED',
    message: expect.stringContaining('3 tracks'),
  });
});

/** By how often the samples change sign. */
function pitchOf(pcm: Float32Array): number {
  let changes = 0;
  for (let i = 1; i < pcm.length; i++) if (pcm[i]! < 0 !== pcm[i - 1]! < 0) changes++;
  return (changes / 2) * (RATE / pcm.length);
}

/** Copies tones of their own into one file, as tracks. */
function withTracks(path: string, tracks: Track[]): string {
  const output = new FormatContext();
  output.allocOutputContext2(null, 'matroska', path);
  const inputs = tracks.map(
    ({ hertz, channels = 1, seconds = 2, disposition = AV_DISPOSITION_DEFAULT }, i) => {
      const tone = sine(seconds, RATE, hertz);
      const file = audioFile(folder.file(`${i}.mka`), new Array(channels).fill(tone), {
        format: 'mkv',
        sampleRate: RATE,
      });
      const input = new FormatContext();
      FFmpegError.throwIfError(input.openInputSync(file));
      input.findStreamInfoSync();
      const stream = output.newStream();
      input.streams[0]!.codecpar.copy(stream.codecpar);
      stream.disposition = disposition;
      return input;
    },
  );
  FFmpegError.throwIfError(output.openOutputSync());
  FFmpegError.throwIfError(output.writeHeaderSync());
  const packet = new Packet();
  packet.alloc();
  inputs.forEach((input, i) => {
    while (input.readFrameSync(packet) >= 0) {
      packet.streamIndex = i;
      packet.rescaleTs(input.streams[0]!.timeBase, output.streams[i]!.timeBase);
      FFmpegError.throwIfError(output.interleavedWriteFrameSync(packet));
    }
    input.closeInputSync();
  });
  output.writeTrailerSync();
  output.closeOutputSync();
  return path;
}
