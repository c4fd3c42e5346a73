import { expect, it } from 'vitest';
import { decodeMessages, encodeMessage, type Message } from '../../functions/adapters/media/messages.ts';
import { seededRandom } from '../support/audio.ts';

const MESSAGES: Message[] = [
  {
    kind: 'info',
    info: { container: 'mp3', codec: 'mp3', channels: 2, sampleRate: 44_100, tags: { title: '音' } },
  },
  { kind: 'pcm', startSample: 0, pcm: new Float32Array([0.5, -1, 1e-9]) },
  { kind: 'undecodable', span: { startMs: 1.5, endMs: 2 } },
  { kind: 'pcm', startSample: 2 ** 40, pcm: new Float32Array(5000).fill(0.25) },
  { kind: 'pcm', startSample: 7, pcm: new Float32Array(0) },
  { kind: 'progress', decodedMs: 1000 },
  { kind: 'summary', summary: { durationMs: 1, undecodable: [], truncated: true } },
];

const bytes = Buffer.concat(MESSAGES.flatMap(encodeMessage));

async function* inPieces(whole: Uint8Array, size: () => number) {
  for (let at = 0; at < whole.length; ) {
    const piece = whole.subarray(at, at + size());
    at += piece.length;
    yield piece;
  }
}

it.each([
  ['whole', () => bytes.length],
  ['byte by byte', () => 1],
  [
    'anywhere',
    (
      (random) => () =>
        1 + Math.floor(random() * 3000)
    )(seededRandom(1)),
  ],
])('messages survive a pipe that hands them on %s', async (_, size) => {
  expect(await readAll(decodeMessages(inPieces(bytes, size)))).toEqual(MESSAGES);
});

it('an unfinished message at the end is dropped', async () => {
  const read = await readAll(decodeMessages(inPieces(bytes.subarray(0, -1), () => 1000)));

  expect(read).toEqual(MESSAGES.slice(0, -1));
});

it('what is no message is an error, not a large allocation', async () => {
  const junk = Buffer.alloc(64, 0xff);

  await expect(readAll(decodeMessages(inPieces(junk, () => 64)))).rejects.toThrow('4294967295 bytes');
});

async function readAll(messages: AsyncIterable<Message>): Promise<Message[]> {
  const read: Message[] = [];
  for await (const message of messages) read.push(message);
  return read;
}
