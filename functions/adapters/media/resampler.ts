import {
  AV_CHANNEL_LAYOUT_MONO,
  AV_CHANNEL_ORDER_NATIVE,
  AV_SAMPLE_FMT_FLT,
  type AVSampleFormat,
} from 'node-av/constants';
import { avChannelLayoutDefault, type ChannelLayout, type Frame, SoftwareResampleContext } from 'node-av/lib';
import { RejectedAudioError } from '../../core/errors.ts';

/** Samples are fetched from FFmpeg so many seconds at a time: a crossing costs as much as resampling a frame. */
const COLLECT_SECONDS = 0.5;

/** FFmpeg knows how to mix so many channels; more are averaged. */
const MAX_MIXED_CHANNELS = 8;

/** What decides whether one resampler can go on with a frame. */
export interface PcmFormat {
  sampleFormat: AVSampleFormat;
  sampleRate: number;
  layout: ChannelLayout;
}

export const formatOf = (frame: Frame): PcmFormat => ({
  sampleFormat: frame.format as AVSampleFormat,
  sampleRate: frame.sampleRate,
  layout: frame.channelLayout,
});

export const sameFormat = (a: PcmFormat, b: PcmFormat): boolean =>
  a.sampleFormat === b.sampleFormat &&
  a.sampleRate === b.sampleRate &&
  a.layout.nbChannels === b.layout.nbChannels &&
  a.layout.mask === b.layout.mask;

/**
 * Turns one unbroken run of samples into mono at the wanted rate.
 *
 * All runs of a file lie on one grid: input sample `n * in / gcd` is output sample `n * out / gcd`, so that a run
 * that begins in the middle of the file yields the same samples as one from its start.
 */
export class Resampler {
  readonly #format: PcmFormat;
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
   * @param start the first input sample to come, counted from the start of the file
   * @param emit gets mono samples, and where the first of them lies at the output rate; they are overwritten later
   * @throws RejectedAudioError
   */
  constructor(
    format: PcmFormat,
    outputRate: number,
    start: number,
    emit: (outputSample: number, pcm: Float32Array) => void,
  ) {
    this.#format = format;
    this.#outputRate = outputRate;
    this.#emit = emit;
    this.#output = new Float32Array(outputRate);
    const { layout, sampleRate } = format;
    if (layout.order !== AV_CHANNEL_ORDER_NATIVE) this.#layout = avChannelLayoutDefault(layout.nbChannels);
    this.#open(this.#layout ?? layout);

    const grid = sampleRate / greatestCommonDivisor(sampleRate, outputRate);
    const onGrid = Math.floor(start / grid) * grid;
    if (start > onGrid) this.#context.injectSilence(start - onGrid);
    this.#inputNext = start;
    this.#outputNext = Math.round((onGrid * outputRate) / sampleRate);
  }

  #open(layout: ChannelLayout): void {
    const { sampleFormat, sampleRate } = this.#format;
    const { nbChannels } = layout;
    const context = this.#context;
    context.allocSetOpts2(
      AV_CHANNEL_LAYOUT_MONO,
      AV_SAMPLE_FMT_FLT,
      this.#outputRate,
      layout,
      sampleFormat,
      sampleRate,
    );
    // The weights of the channels add up to 1, so that loud stereo does not clip.
    context.setOption('rematrix_maxval', 1);
    if (nbChannels > MAX_MIXED_CHANNELS) {
      context.setMatrix(new Array(nbChannels).fill(1 / nbChannels), nbChannels);
    }
    if (context.init() < 0) {
      throw new RejectedAudioError(
        'UNSUPPORTED',
        `audio of ${nbChannels} channels at ${sampleRate} Hz in this sample format is not supported`,
      );
    }
  }

  /** Takes a frame of the run's format. */
  write(frame: Frame): void {
    const samples = frame.nbSamples;
    if (this.#layout) frame.channelLayout = this.#layout;
    check(this.#context.convertFrame(null, frame));
    this.#inputNext += samples;
    this.#held += samples;
    if (this.#held >= COLLECT_SECONDS * this.#format.sampleRate) this.#collect(this.#nothing);
  }

  /** Ends the run: hands on what the filter still holds. */
  finish(): void {
    this.#collect(this.#nothing);
    const end = Math.round((this.#inputNext * this.#outputRate) / this.#format.sampleRate);
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

function check(result: number): number {
  if (result < 0) throw new RejectedAudioError('UNDECODABLE', 'the audio cannot be resampled');
  return result;
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
