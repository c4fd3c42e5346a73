// The process that touches hostile bytes. It is given one open file and one pipe, and ends with the file:
//
//   fd 1  messages to the parent (messages.ts); a full pipe blocks, a broken one ends the process
//   fd 2  what FFmpeg complains about
//   fd 3  the file
//
// Everything is synchronous: FFmpeg's calls through node-av are several times faster that way.
import { writeSync } from 'node:fs';
import { AV_LOG_FATAL } from 'node-av/constants';
import { Log } from 'node-av/lib';
import { RejectedAudioError } from '../../core/errors.ts';
import { Decoding } from './decoding.ts';
import { openMedia } from './media-file.ts';
import { type DecodeJob, encodeMessage, type Message } from './messages.ts';

const PIPE = 1;
const FILE = 3;

function decodeFile(job: DecodeJob): void {
  const media = openMedia(FILE, job);
  send({ kind: 'info', info: media.info });
  send({ kind: 'summary', summary: new Decoding(media, job, send).run() });
}

function send(message: Message): void {
  for (const part of encodeMessage(message)) {
    for (let sent = 0; sent < part.byteLength; ) sent += writeSync(PIPE, part, sent);
  }
}

Log.setLevel(AV_LOG_FATAL);
try {
  decodeFile(JSON.parse(process.argv[2]!));
} catch (error) {
  if ((error as NodeJS.ErrnoException).code === 'EPIPE') process.exit(0); // nobody listens any more
  if (!(error instanceof RejectedAudioError)) throw error;
  send({ kind: 'fault', code: error.code, message: error.message });
}
process.exit(0);
