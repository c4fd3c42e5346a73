import type { TimeSpan } from '../../core/span.ts';
import type { DecodeSummary, MediaInfo } from '../../ports/decoder.ts';

// What the decoding child tells its parent, over a pipe:
//
//   byte 0      kind
//   bytes 4-7   length of the body, little-endian
//   bytes 8-15  for PCM: start sample (float64, little-endian)
//   body        PCM as float32 of the machine, or JSON in UTF-8

/** What the parent asks of the child, as JSON in its only argument. */
export interface DecodeJob {
  sampleRate: number;
  startSample: number;
  bytes: number;
  maxDurationMs: number;
  maxSampleRate: number;
  maxChannels: number;
  maxStreams: number;
}

export type Message =
  | { kind: 'info'; info: MediaInfo }
  | { kind: 'pcm'; startSample: number; pcm: Float32Array }
  /** A stretch of the PCM that follows, or of the end of the file, could not be decoded. */
  | { kind: 'undecodable'; span: TimeSpan }
  /** Sent now and then while no PCM comes out, because the start of the file is skipped. */
  | { kind: 'progress'; decodedMs: number }
  | { kind: 'summary'; summary: DecodeSummary }
  | { kind: 'fault'; code: string; message: string };

const KINDS = ['info', 'pcm', 'undecodable', 'progress', 'summary', 'fault'] as const;
const HEADER_BYTES = 16;
const MAX_BODY_BYTES = 16 * 1024 * 1024;

export function encodeMessage(message: Message): Uint8Array[] {
  const header = Buffer.alloc(HEADER_BYTES);
  let body: Uint8Array;
  if (message.kind === 'pcm') {
    header.writeDoubleLE(message.startSample, 8);
    body = new Uint8Array(message.pcm.buffer, message.pcm.byteOffset, message.pcm.byteLength);
  } else {
    body = Buffer.from(JSON.stringify(message));
  }
  header[0] = KINDS.indexOf(message.kind);
  header.writeUInt32LE(body.byteLength, 4);
  return [header, body];
}

/**
 * Reads messages from a stream of bytes that is cut anywhere. Ends when the stream ends, dropping an unfinished
 * message: a child that died in the middle of one is noticed by what is missing.
 */
export async function* decodeMessages(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Message, void> {
  const header = Buffer.alloc(HEADER_BYTES);
  let target: Uint8Array = header;
  let filled = 0;
  let inBody = false;

  for await (const chunk of bytes) {
    let used = 0;
    while (used < chunk.length || (inBody && target.length === 0)) {
      const take = Math.min(chunk.length - used, target.length - filled);
      target.set(chunk.subarray(used, used + take), filled);
      used += take;
      filled += take;
      if (filled < target.length) continue;

      if (inBody) {
        yield parseMessage(header, target);
        target = header;
      } else {
        const length = header.readUInt32LE(4);
        if (length > MAX_BODY_BYTES) throw new Error(`the decoder announced a message of ${length} bytes`);
        target = new Uint8Array(length);
      }
      inBody = !inBody;
      filled = 0;
    }
  }
}

function parseMessage(header: Buffer, body: Uint8Array): Message {
  if (KINDS[header[0]!] === 'pcm') {
    return { kind: 'pcm', startSample: header.readDoubleLE(8), pcm: new Float32Array(body.buffer) };
  }
  return JSON.parse(new TextDecoder().decode(body));
}
