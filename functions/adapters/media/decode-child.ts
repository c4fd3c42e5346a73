// The process that touches hostile bytes. It is given one open file and one pipe, and ends with the file:
//
//   fd 1  messages to the parent (messages.ts); a full pipe blocks, a broken one ends the process
//   fd 2  what FFmpeg complains about
//   fd 3  the file
//
// Everything is synchronous: FFmpeg's calls through node-av are several times faster that way.
import { writeSync } from 'node:fs';
import {
  AV_LOG_ERROR,
  AV_NOPTS_VALUE,
  AV_SAMPLE_FMT_DBL,
  AV_SAMPLE_FMT_FLT,
  AVERROR_EAGAIN,
  AVERROR_ENOMEM,
  AVERROR_EOF,
} from 'node-av/constants';
import { Frame, Log, Packet } from 'node-av/lib';
import { RejectedAudioError } from '../../core/errors.ts';
import type { DecodeSummary } from '../../ports/decoder.ts';
import { type MediaFile, openMedia, outOfMemory } from './media-file.ts';
import { type DecodeJob, encodeMessage, type Message } from './messages.ts';
import { formatOf, Resampler, sameFormat } from './resampler.ts';
import { limited, Timeline } from './timeline.ts';

const FILE = 3;
const PIPE = 1;

/** Timestamps may be off the count of samples by so much before the difference counts as a gap (MKV rounds to 1 ms). */
const TIMESTAMP_SLACK_SECONDS = 0.01;

/** A longer gap is told as undecodable even if no decoder complained. */
const SILENT_GAP_SECONDS = 0.1;

/** Timestamps that jump back, or ahead for longer than this, have started anew. */
const MAX_JUMP_BACK_SECONDS = 1;
const MAX_JUMP_AHEAD_SECONDS = 600;

/** So many read errors in a row end the file. */
const MAX_READ_ERRORS = 50;

function decodeFile(job: DecodeJob): void {
  const media = openMedia(FILE, job);
  send({ kind: 'info', info: media.info });
  send({ kind: 'summary', summary: new Decoding(media, job).run() });
}

/** One walk through the packets of the main track. */
class Decoding {
  readonly #media: MediaFile;
  readonly #job: DecodeJob;
  readonly #timeline: Timeline;
  readonly #packet = new Packet();
  readonly #frame = new Frame();
  /** Where time zero of the file lies, in seconds of the track's timestamps. */
  readonly #origin: number;
  #run: Resampler | undefined;
  /** Seconds to add to timestamps after they have started anew. */
  #shift = 0;
  /** Since the last good frame, some packet could not be decoded. */
  #damaged = false;
  /** End of the last packet that could not be decoded, in seconds. */
  #damageEnd = 0;
  #decodedFrames = 0;
  #lastReport = 0;

  constructor(media: MediaFile, job: DecodeJob) {
    this.#media = media;
    this.#job = job;
    this.#timeline = new Timeline(
      job.sampleRate,
      job.startSample,
      (startSample, pcm) => {
        this.#lastReport = performance.now();
        send({ kind: 'pcm', startSample, pcm });
      },
      (span) => send({ kind: 'undecodable', span }),
    );
    // Encoder delay shows as a positive start (MP3) or as negative timestamps that the decoder drops (the others).
    const { startTime } = media.format;
    this.#origin = startTime === AV_NOPTS_VALUE ? 0 : Math.max(0, Number(startTime) / 1e6);
    this.#packet.alloc();
    this.#frame.alloc();
  }

  run(): DecodeSummary {
    const { format, stream, decoder } = this.#media;
    let readErrors = 0;
    for (;;) {
      const read = format.readFrameSync(this.#packet);
      if (read === AVERROR_ENOMEM) throw outOfMemory();
      if (read === AVERROR_EOF) break;
      if (read < 0) {
        if (++readErrors > MAX_READ_ERRORS) break;
        continue;
      }
      readErrors = 0;
      if (this.#packet.streamIndex === stream.index) this.#decodePacket();
      this.#packet.unref();
    }
    decoder.sendPacketSync(null);
    this.#takeFrames();
    return this.#finish();
  }

  #decodePacket(): void {
    const sent = this.#media.decoder.sendPacketSync(this.#packet);
    if (sent === AVERROR_ENOMEM) throw outOfMemory();
    if (sent < 0 && sent !== AVERROR_EAGAIN) this.#markDamage();
    this.#takeFrames();
  }

  #markDamage(): void {
    this.#damaged = true;
    const { pts, duration } = this.#packet;
    if (pts !== AV_NOPTS_VALUE) this.#damageEnd = this.#seconds(pts + duration);
  }

  #takeFrames(): void {
    for (;;) {
      const received = this.#media.decoder.receiveFrameSync(this.#frame);
      if (received === AVERROR_EAGAIN || received === AVERROR_EOF) return;
      if (received === AVERROR_ENOMEM) throw outOfMemory();
      if (received < 0) {
        this.#markDamage();
        return;
      }
      this.#takeFrame(this.#frame);
      this.#frame.unref();
    }
  }

  #takeFrame(frame: Frame): void {
    const format = formatOf(frame);
    const samples = frame.nbSamples;
    if (samples <= 0 || format.sampleRate <= 0) return;
    this.#decodedFrames++;

    const start = this.#placeOf(frame);
    if (!this.#run || start !== this.#run.next || !sameFormat(format, this.#run.format)) {
      this.#endRun();
      this.#bridge(start / format.sampleRate);
      this.#run = new Resampler(format, this.#job.sampleRate, start, (at, pcm) =>
        this.#timeline.write(at, pcm),
      );
    }
    this.#damaged = false;
    this.#run.write(planesOf(frame), samples);
    this.#checkLength(this.#run.next / format.sampleRate);
    this.#reportProgress();
  }

  /** The sample, counted from the start of the file at the frame's rate, that the frame begins with. */
  #placeOf(frame: Frame): number {
    const rate = frame.sampleRate;
    const expected = this.#run ? this.#run.next / this.#run.format.sampleRate : undefined;
    const stated = frame.bestEffortTimestamp;
    if (stated === AV_NOPTS_VALUE) return Math.round((expected ?? 0) * rate);

    let seconds = this.#seconds(stated);
    if (expected === undefined) return Math.round(Math.max(0, seconds) * rate);

    const ahead = seconds - expected;
    if (ahead < -MAX_JUMP_BACK_SECONDS || (ahead > MAX_JUMP_AHEAD_SECONDS && !this.#claimed(seconds))) {
      this.#shift -= ahead;
      seconds = expected;
    }
    // What overlaps is appended, never dropped: no audio may be lost to untidy timestamps.
    return seconds - expected > TIMESTAMP_SLACK_SECONDS
      ? Math.round(seconds * rate)
      : Math.round(expected * rate);
  }

  #seconds(pts: bigint): number {
    const { num, den } = this.#media.stream.timeBase;
    return (Number(pts) * num) / den - this.#origin + this.#shift;
  }

  #claimed(seconds: number): boolean {
    const { claimedDurationMs } = this.#media.info;
    return claimedDurationMs !== undefined && seconds * 1000 <= claimedDurationMs;
  }

  /** Lets time pass up to `seconds`, where the next run begins, and tells of what was lost on the way. */
  #bridge(seconds: number): void {
    this.#checkLength(seconds);
    const from = this.#timeline.end;
    const to = Math.round(seconds * this.#job.sampleRate);
    const isStart = this.#decodedFrames === 1;
    const long = to - from > SILENT_GAP_SECONDS * this.#job.sampleRate;
    if (this.#damaged || (long && !isStart)) this.#timeline.markUndecodable(from, to);
    this.#timeline.silenceTo(to);
  }

  #checkLength(seconds: number): void {
    if (seconds * 1000 <= this.#job.maxDurationMs) return;
    const hours = this.#job.maxDurationMs / 3_600_000;
    throw new RejectedAudioError('TOO_LONG', `the audio is longer than the ${hours} hours that are accepted`);
  }

  #endRun(): void {
    this.#run?.finish();
    this.#run = undefined;
  }

  #reportProgress(): void {
    const now = performance.now();
    if (now - this.#lastReport < 1000) return;
    this.#lastReport = now;
    send({ kind: 'progress', decodedMs: (this.#timeline.end * 1000) / this.#job.sampleRate });
  }

  #finish(): DecodeSummary {
    if (this.#decodedFrames === 0) {
      throw new RejectedAudioError('UNDECODABLE', 'no part of the audio track could be decoded');
    }
    this.#endRun();
    if (this.#damaged) this.#bridge(this.#damageEnd);
    this.#timeline.finish();
    const durationMs = (this.#timeline.end * 1000) / this.#job.sampleRate;
    const { claimedDurationMs = 0 } = this.#media.info;
    const missingMs = claimedDurationMs - durationMs;
    return {
      durationMs,
      undecodable: this.#timeline.undecodable,
      truncated: missingMs > 1000 || missingMs > Math.max(50, claimedDurationMs * 0.01),
    };
  }
}

/** The samples of a frame. In floating-point PCM, what is no number would spread through the resampler's filter. */
function planesOf(frame: Frame): Buffer[] {
  const planes = frame.extendedData ?? [];
  if (frame.format !== AV_SAMPLE_FMT_FLT && frame.format !== AV_SAMPLE_FMT_DBL) return planes;
  const samples = frame.nbSamples * frame.channelLayout.nbChannels;
  const View = frame.format === AV_SAMPLE_FMT_FLT ? Float32Array : Float64Array;
  for (const { buffer, byteOffset } of planes) {
    const values = new View(buffer as ArrayBuffer, byteOffset, samples);
    for (let i = 0; i < samples; i++) values[i] = limited(values[i]!);
  }
  return planes;
}

function send(message: Message): void {
  for (const part of encodeMessage(message)) {
    for (let sent = 0; sent < part.byteLength; ) sent += writeSync(PIPE, part, sent);
  }
}

Log.setLevel(AV_LOG_ERROR);
try {
  decodeFile(JSON.parse(process.argv[2]!));
} catch (error) {
  if ((error as NodeJS.ErrnoException).code === 'EPIPE') process.exit(0);
  if (!(error instanceof RejectedAudioError)) throw error;
  send({ kind: 'fault', code: error.code, message: error.message });
}
process.exit(0);
