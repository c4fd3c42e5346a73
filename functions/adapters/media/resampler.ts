import {
  AV_CHANNEL_LAYOUT_MONO,
  AV_CHANNEL_ORDER_NATIVE,
  AV_SAMPLE_FMT_FLT,
  AV_SAMPLE_FMT_FLTP,
  type AVSampleFormat,
} from 'node-av/constants';
import {
  avChannelLayoutDefault,
  avSampleFmtIsPlanar,
  type ChannelLayout,
  type Frame,
  SoftwareResampleContext,
} from 'node-av/lib';
import { RejectedAudioError } from '../../core/errors.ts';

/** node-av 6.1 hands at most so many planes to FFmpeg; one more overruns its array and crashes. */
const MAX_PLANES = 8;

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
  readonly format: PcmFormat;
  /** The next input sample, counted from the start of the file. */
  next: number;
  readonly #outputRate: number;
  readonly #emit: (outputSample: number, pcm: Float32Array) => void;
  readonly #context = new SoftwareResampleContext();
  readonly #averaged: boolean;
  #outputNext: number;
  #output = new Float32Array(0);

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
    this.format = format;
    this.#outputRate = outputRate;
    this.#emit = emit;
    this.#averaged = format.layout.nbChannels > MAX_PLANES && avSampleFmtIsPlanar(format.sampleFormat);
    this.#open();

    const grid = format.sampleRate / greatestCommonDivisor(format.sampleRate, outputRate);
    const onGrid = Math.floor(start / grid) * grid;
    if (start > onGrid) this.#context.injectSilence(start - onGrid);
    this.next = start;
    this.#outputNext = Math.round((onGrid * outputRate) / format.sampleRate);
  }

  #open(): void {
    const { sampleFormat, sampleRate, layout } = this.format;
    const unsupported = new RejectedAudioError(
      'UNSUPPORTED',
      `audio of ${layout.nbChannels} channels at ${sampleRate} Hz in this sample format is not supported`,
    );
    if (this.#averaged && sampleFormat !== AV_SAMPLE_FMT_FLTP) throw unsupported;

    let input = layout.order === AV_CHANNEL_ORDER_NATIVE ? layout : avChannelLayoutDefault(layout.nbChannels);
    if (this.#averaged) input = AV_CHANNEL_LAYOUT_MONO;
    const context = this.#context;
    context.allocSetOpts2(
      AV_CHANNEL_LAYOUT_MONO,
      AV_SAMPLE_FMT_FLT,
      this.#outputRate,
      input,
      sampleFormat,
      sampleRate,
    );
    // The weights of the channels add up to 1, so that loud stereo does not clip.
    context.setOption('rematrix_maxval', 1);
    const { nbChannels } = input;
    if (nbChannels > MAX_PLANES) context.setMatrix(new Array(nbChannels).fill(1 / nbChannels), nbChannels);
    if (context.init() < 0) throw unsupported;
  }

  /** @param planes one buffer per channel, or one for all if the format interleaves them */
  write(planes: Buffer[], samples: number): void {
    this.#convert(this.#averaged ? [average(planes, samples)] : planes, samples);
    this.next += samples;
  }

  /** Ends the run: hands on what the filter still holds. */
  finish(): void {
    const end = Math.round((this.next * this.#outputRate) / this.format.sampleRate);
    while (this.#outputNext < end && this.#convert(null, 0, end - this.#outputNext) > 0);
    this.#context.free();
  }

  #convert(input: Buffer[] | null, samples: number, room = this.#context.getOutSamples(samples)): number {
    if (this.#output.length < room) this.#output = new Float32Array(room);
    const made = this.#context.convertSync([Buffer.from(this.#output.buffer)], room, input, samples);
    if (made < 0) throw new RejectedAudioError('UNDECODABLE', 'the audio cannot be resampled');
    if (made > 0) this.#emit(this.#outputNext, this.#output.subarray(0, made));
    this.#outputNext += made;
    return made;
  }
}

function average(planes: Buffer[], samples: number): Buffer {
  const mean = new Float32Array(samples);
  for (const plane of planes) {
    const channel = new Float32Array(plane.buffer, plane.byteOffset, samples);
    for (let i = 0; i < samples; i++) mean[i]! += channel[i]! / planes.length;
  }
  return Buffer.from(mean.buffer);
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
