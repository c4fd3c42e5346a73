import {
  AV_NOPTS_VALUE,
  AVERROR_EAGAIN,
  AVERROR_ENOMEM,
  AVERROR_EOF,
  AVSEEK_FLAG_BACKWARD,
} from 'node-av/constants';
import { Frame, Packet } from 'node-av/lib';
import { RejectedAudioError } from '../../core/errors.ts';
import type { DecodeSummary } from '../../ports/decoder.ts';
import { type MediaFile, outOfMemory } from './media-file.ts';
import type { DecodeJob, Message } from './messages.ts';
import { cannotResample, Resampler } from './resampler.ts';
import { Timeline } from './timeline.ts';

/**
 * Timestamps may be so far ahead of the count of samples before it counts as a gap: recorders write them as they come,
 * MKV rounds them to 1 ms, and FFmpeg guesses the first Vorbis packet of a page 10 ms late.
 */
const TIMESTAMP_SLACK_SECONDS = 0.03;

/** A longer gap is told as undecodable even if no decoder complained. */
const SILENT_GAP_SECONDS = 0.1;

/** Timestamps that jump back for longer than this have started anew. */
const MAX_JUMP_BACK_SECONDS = 1;

/** So have those that jump ahead for longer, where the header does not say that the file lasts so long. */
const MAX_JUMP_AHEAD_SECONDS = 600;

/** Files that start later than this are recordings of something that ran already. */
const LATE_START_SECONDS = 1;

/** Decoders and filters need so much audio before the first sample that counts. */
const RUN_UP_SECONDS = 1;

/** Containers whose index leads to exact timestamps; for the others, the start is decoded and dropped. */
const SEEKS_EXACTLY = new Set(['mov', 'wav', 'w64', 'aiff', 'caf', 'flac', 'ogg', 'mp3']);

/** Below this, decoding from the start is as quick. */
const MIN_SEEK_SECONDS = 10;

/** So many read errors in a row end the file. */
const MAX_READ_ERRORS = 50;

/** Streams of frames end in junk as often as in a broken frame; their last frame is judged by its header instead. */
const ENDS_IN_JUNK = new Set(['mp3', 'aac']);

const PROGRESS_EVERY_MS = 1000;

/**
 * One walk through the packets of the main track.
 *
 * There are 50 packets in a second of audio, and asking FFmpeg for a property of a frame is a call out of JavaScript:
 * only what every frame may differ in is asked of every frame.
 */
export class Decoding {
  readonly #media: MediaFile;
  readonly #job: DecodeJob;
  readonly #send: (message: Message) => void;
  readonly #timeline: Timeline;
  readonly #packet = new Packet();
  readonly #frame = new Frame();

  /** Seconds in one unit of the track's timestamps. */
  readonly #tick: number;
  /** Where time zero of the file lies, in seconds of the track's timestamps. */
  readonly #origin: number;
  /** Seconds to add to timestamps after they have started anew. */
  #shift = 0;
  /** The sample that comes next, counted from the start of the file at the rate of the last frame. */
  #next: number | undefined;
  #rate = 0;
  #run: Resampler | undefined;

  #seeked = false;
  #hasAudio = false;
  /** Something since the last good frame could not be decoded; it ended at `#damageEnd` seconds. */
  #damaged = false;
  #damageEnd = 0;
  #unreadable = false;
  #lastSign = 0;

  constructor(media: MediaFile, job: DecodeJob, send: (message: Message) => void) {
    this.#media = media;
    this.#job = job;
    this.#send = send;
    this.#timeline = new Timeline(job.sampleRate, job.startSample, {
      pcm: (startSample, pcm) => {
        this.#lastSign = performance.now();
        send({ kind: 'pcm', startSample, pcm });
      },
      undecodable: (span) => send({ kind: 'undecodable', span }),
    });
    const { num, den } = media.stream.timeBase;
    this.#tick = num / den;
    this.#origin = originOf(media);
    this.#packet.alloc();
    this.#frame.alloc();
  }

  /** @throws RejectedAudioError */
  run(): DecodeSummary {
    this.#seek();
    this.#decodePackets();
    if (this.#seeked && !this.#hasAudio) {
      this.#takeBackSeek();
      this.#decodePackets();
    }
    return this.#finish();
  }

  get #wantedSeconds(): number {
    return this.#job.startSample / this.#job.sampleRate;
  }

  #seek(): void {
    const seconds = this.#wantedSeconds - RUN_UP_SECONDS;
    if (seconds < MIN_SEEK_SECONDS || !SEEKS_EXACTLY.has(this.#media.info.container)) return;
    this.#seekTo(BigInt(Math.floor((seconds + this.#origin) / this.#tick)));
    this.#seeked = true;
  }

  #seekTo(timestamp: bigint): void {
    const { format, stream, decoder } = this.#media;
    format.seekFrameSync(stream.index, timestamp, AVSEEK_FLAG_BACKWARD);
    decoder.flushBuffers();
  }

  /** A seek that led beyond what is wanted, or beyond the end, is no good: the file is decoded from its start. */
  #takeBackSeek(): void {
    this.#seeked = false;
    this.#seekTo(0n);
  }

  #decodePackets(): void {
    const { format, decoder } = this.#media;
    const track = this.#media.stream.index;
    for (let errors = 0; errors <= MAX_READ_ERRORS; ) {
      const read = format.readFrameSync(this.#packet);
      if (read === AVERROR_ENOMEM) throw outOfMemory();
      if (read === AVERROR_EOF) break;
      errors = read < 0 ? errors + 1 : 0;
      this.#unreadable = read < 0;
      if (read < 0) continue;
      if (this.#packet.streamIndex === track) this.#decodePacket();
      this.#packet.unref();
    }
    decoder.sendPacketSync(null);
    this.#takeFrames();
  }

  #decodePacket(): void {
    const sent = this.#media.decoder.sendPacketSync(this.#packet);
    if (sent === AVERROR_ENOMEM) throw outOfMemory();
    if (sent < 0 && sent !== AVERROR_EAGAIN) this.#markDamage();
    this.#takeFrames();
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
      if (this.#frame.decodeErrorFlags !== 0) this.#markDamage();
      else this.#takeFrame(this.#frame);
      this.#frame.unref();
    }
  }

  #markDamage(): void {
    this.#damaged = true;
    const { pts, duration } = this.#packet;
    if (pts !== AV_NOPTS_VALUE) this.#damageEnd = this.#secondsOf(pts + duration);
  }

  #takeFrame(frame: Frame): void {
    const samples = frame.nbSamples;
    const rate = frame.sampleRate;
    if (samples <= 0 || rate <= 0) return;

    const start = this.#placeOf(frame, rate);
    if (this.#seeked && !this.#hasAudio && start / rate > this.#wantedSeconds) {
      this.#takeBackSeek();
      return;
    }
    if (start !== this.#next || rate !== this.#rate) {
      this.#endRun();
      this.#bridge(start / rate);
    }
    this.#hasAudio = true;
    this.#damaged = false;
    this.#rate = rate;
    this.#next = start + samples;
    const end = this.#next / rate;
    this.#checkLength(end);

    if (end < this.#wantedSeconds - RUN_UP_SECONDS) {
      this.#reportProgress(end);
      this.#timeline.silenceTo(Math.round(end * this.#job.sampleRate));
      return;
    }
    if (this.#run?.write(frame, samples)) return;
    this.#endRun();
    this.#run = new Resampler(frame, this.#job.sampleRate, start, (at, pcm) => this.#timeline.write(at, pcm));
    if (!this.#run.write(frame, samples)) throw cannotResample();
  }

  /** The sample that a frame of this rate begins with, counted from the start of the file. */
  #placeOf(frame: Frame, rate: number): number {
    const expected = this.#next === undefined ? undefined : this.#next / this.#rate;
    const stated = frame.bestEffortTimestamp;
    if (expected === undefined) {
      return stated === AV_NOPTS_VALUE ? 0 : Math.round(Math.max(0, this.#secondsOf(stated)) * rate);
    }
    const contiguous = Math.round(expected * rate);
    if (stated === AV_NOPTS_VALUE) return contiguous;

    const seconds = this.#secondsOf(stated);
    const ahead = seconds - expected;
    if (ahead < -MAX_JUMP_BACK_SECONDS || !this.#isPlausible(seconds, ahead)) {
      this.#shift -= ahead;
      return contiguous;
    }
    // What overlaps is appended, never dropped: no audio may be lost to untidy timestamps.
    return ahead > (this.#damaged ? 0 : TIMESTAMP_SLACK_SECONDS) ? Math.round(seconds * rate) : contiguous;
  }

  #isPlausible(seconds: number, ahead: number): boolean {
    const { claimedDurationMs } = this.#media.info;
    if (claimedDurationMs === undefined) return ahead <= MAX_JUMP_AHEAD_SECONDS;
    return ahead <= MAX_JUMP_BACK_SECONDS || seconds * 1000 <= claimedDurationMs;
  }

  #secondsOf(pts: bigint): number {
    return Number(pts) * this.#tick - this.#origin + this.#shift;
  }

  /** Lets time pass up to `seconds`, where the next run begins, and tells of what was lost on the way. */
  #bridge(seconds: number): void {
    this.#checkLength(seconds);
    const { sampleRate } = this.#job;
    const from = this.#timeline.end;
    const to = Math.round(seconds * sampleRate);
    // A track may begin later than the file does, and after a seek nothing is known of what lies before.
    const isGap = this.#hasAudio
      ? to - from > SILENT_GAP_SECONDS * sampleRate || this.#damaged
      : this.#damaged;
    if (isGap && (this.#hasAudio || !this.#seeked)) this.#timeline.markUndecodable(from, to);
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

  #reportProgress(seconds: number): void {
    const now = performance.now();
    if (now - this.#lastSign < PROGRESS_EVERY_MS) return;
    this.#lastSign = now;
    this.#send({ kind: 'progress', decodedMs: seconds * 1000 });
  }

  #finish(): DecodeSummary {
    if (!this.#hasAudio) {
      throw new RejectedAudioError('UNDECODABLE', 'no part of the audio track could be decoded');
    }
    this.#endRun();
    const endsDamaged = this.#damaged && !ENDS_IN_JUNK.has(this.#media.info.container);
    const end = this.#next! / this.#rate;
    if (endsDamaged && this.#isPlausible(this.#damageEnd, this.#damageEnd - end))
      this.#bridge(this.#damageEnd);
    this.#timeline.finish();

    const durationMs = (this.#timeline.end * 1000) / this.#job.sampleRate;
    return {
      durationMs,
      undecodable: this.#timeline.undecodable,
      truncated: this.#media.cutOff || this.#unreadable || endsDamaged || this.#fallsShort(durationMs),
    };
  }

  /** The header promised more than there was. */
  #fallsShort(durationMs: number): boolean {
    const { statedMs = 0, info } = this.#media;
    // FLAC counts its samples; others round, and know nothing of encoder delay.
    const tolerance = info.container === 'flac' ? 20 : Math.min(1000, Math.max(50, statedMs * 0.01));
    return statedMs - durationMs > tolerance;
  }
}

/**
 * Where players begin to count. A recording of something that ran already begins at its first timestamp, and so does
 * an MP3, whose first timestamp is the encoder's delay. A short lead elsewhere is part of the file.
 */
function originOf({ format, info }: MediaFile): number {
  const seconds = format.startTime === AV_NOPTS_VALUE ? 0 : Number(format.startTime) / 1e6;
  return info.container === 'mp3' || seconds >= LATE_START_SECONDS ? seconds : 0;
}
