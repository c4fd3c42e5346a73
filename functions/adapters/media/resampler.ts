import {
  AV_CHANNEL_LAYOUT_MONO,
  AV_CHANNEL_ORDER_NATIVE,
  AV_SAMPLE_FMT_DBL,
  AV_SAMPLE_FMT_FLT,
  AVERROR_INPUT_CHANGED,
  type AVSampleFormat,
} from 'node-av/constants';
import { avChannelLayoutDefault, type ChannelLayout, type Frame, SoftwareResampleContext } from 'node-av/lib';
import { RejectedAudioError } from '../../core/errors.ts';
import { limited } from './timeline.ts';

/** Samples are fetched from FFmpeg so many seconds at a time: a crossing costs as much as resampling a frame. */
const COLLECT_SECONDS = 0.5;

/**
 * Half of FFmpeg's own 32 taps, which take half as long as the decoding of Vorbis. A window of 5 instead of 9 lets the same
 * band pass; what folds back lies 50 dB down instead of 90, and embeddings of music keep a cosine of 0.99999 to it.
 */
const FILTER = { filter_size: 16, kaiser_beta: 5 };

/** FFmpeg knows how to mix so many channels; more are averaged. */
const MAX_MIXED_CHANNELS = 8;

/**
 * Turns one unbroken run of samples into mono at the wanted rate.
 *
 * All runs of a file lie on one grid: input sample `n * in / gcd` is output sample `n * out / gcd`, so that a run
 * that begins in the middle of the file yields the same samples as one from its start.
 */
export class Resampler {
  readonly #sampleFormat: AVSampleFormat;
  readonly #inputRate: number;
  readonly #outputRate: number;
  readonly #emit: (outputSample: number, pcm: Float32Array) => void;
  readonly #context = new SoftwareResampleContext();
  /** The layout that the context was told; `undefined` if that of the frames will do. */
  readonly #layout: ChannelLayout | undefined;
  #inputNext: number;
  #outputNext: number;
  #held = 0;
  readonly #output: Float32Array;
  /** No more samples for now; `null` would say that there will never be any. */
  readonly #nothing = [Buffer.alloc(0)];

  /**
   * @param first the frame that the run begins with, and whose format it has; it is yet to be written
   * @param start its first sample, counted from the start of the file
   * @param emit gets mono samples, and where the first of them lies at the output rate; they are overwritten later
   * @throws RejectedAudioError
   */
  constructor(
    first: Frame,
    outputRate: number,
    start: number,
    emit: (outputSample: number, pcm: Float32Array) => void,
  ) {
    this.#sampleFormat = first.format as AVSampleFormat;
    this.#inputRate = first.sampleRate;
    this.#outputRate = outputRate;
    this.#emit = emit;
    this.#output = new Float32Array(outputRate);
    const layout = first.channelLayout;
    if (layout.order !== AV_CHANNEL_ORDER_NATIVE) this.#layout = avChannelLayoutDefault(layout.nbChannels);
    this.#open(this.#layout ?? layout);

    const grid = this.#inputRate / greatestCommonDivisor(this.#inputRate, outputRate);
    const onGrid = Math.floor(start / grid) * grid;
    if (start > onGrid) this.#context.injectSilence(start - onGrid);
    this.#inputNext = start;
    this.#outputNext = Math.round((onGrid * outputRate) / this.#inputRate);
  }

  #open(layout: ChannelLayout): void {
    const { nbChannels } = layout;
    const context = this.#context;
    context.allocSetOpts2(
      AV_CHANNEL_LAYOUT_MONO,
      AV_SAMPLE_FMT_FLT,
      this.#outputRate,
      layout,
      this.#sampleFormat,
      this.#inputRate,
    );
    // The weights of the channels add up to 1, so that loud stereo does not clip.
    context.setOption('rematrix_maxval', 1);
    for (const [name, value] of Object.entries(FILTER)) context.setOption(name, value);
    if (nbChannels > MAX_MIXED_CHANNELS) {
      context.setMatrix(new Array(nbChannels).fill(1 / nbChannels), nbChannels);
    }
    if (context.init() < 0) {
      throw new RejectedAudioError(
        'UNSUPPORTED',
        `audio of ${nbChannels} channels at ${this.#inputRate} Hz in this sample format is not supported`,
      );
    }
  }

  /** Takes a frame, unless it is of another format than the run. */
  write(frame: Frame, samples: number): boolean {
    if (this.#layout) {
      if (frame.channelLayout.nbChannels !== this.#layout.nbChannels) return false;
      frame.channelLayout = this.#layout;
    }
    if (this.#sampleFormat === AV_SAMPLE_FMT_FLT || this.#sampleFormat === AV_SAMPLE_FMT_DBL)
      limitSamples(frame);
    const result = this.#context.convertFrame(null, frame);
    if (result === AVERROR_INPUT_CHANGED) return false;
    check(result);
    this.#inputNext += samples;
    this.#held += samples;
    if (this.#held >= COLLECT_SECONDS * this.#inputRate) this.#collect(this.#nothing);
    return true;
  }

  /** Ends the run: hands on what the filter still holds. */
  finish(): void {
    this.#collect(this.#nothing);
    const end = Math.round((this.#inputNext * this.#outputRate) / this.#inputRate);
    this.#collect(null, end);
    this.#context.free();
  }

  #collect(input: Buffer[] | null, end = Number.POSITIVE_INFINITY): void {
    this.#held = 0;
    const target = [Buffer.from(this.#output.buffer)];
    while (this.#outputNext < end) {
      const room = Math.min(this.#output.length, end - this.#outputNext);
      const made = check(this.#context.convertSync(target, room, input, 0));
      if (made === 0) return;
      this.#emit(this.#outputNext, this.#output.subarray(0, made));
      this.#outputNext += made;
    }
  }
}

/** In floating-point PCM, what is no number would spread through the resampler's filter. */
function limitSamples(frame: Frame): void {
  if (frame.format !== AV_SAMPLE_FMT_FLT && frame.format !== AV_SAMPLE_FMT_DBL) return;
  const samples = frame.nbSamples * frame.channelLayout.nbChannels;
  const View = frame.format === AV_SAMPLE_FMT_FLT ? Float32Array : Float64Array;
  for (const { buffer, byteOffset } of frame.data ?? []) {
    const values = new View(buffer as ArrayBuffer, byteOffset, samples);
    for (let i = 0; i < samples; i++) values[i] = limited(values[i]!);
  }
}

function check(result: number): number {
  if (result < 0) throw cannotResample();
  return result;
}

export const cannotResample = (): RejectedAudioError =>
  new RejectedAudioError('UNDECODABLE', 'the audio cannot be resampled');

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
