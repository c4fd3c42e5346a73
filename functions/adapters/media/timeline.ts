import type { TimeSpan } from '../../core/span.ts';

const BLOCK_SECONDS = 2;

/** Gaps after so many are told as one, so that a hostile file cannot grow the list. */
const MAX_SPANS = 1000;

export interface Listener {
  /** A block of samples, which are overwritten after the call. */
  pcm(startSample: number, pcm: Float32Array): void;
  /** A stretch that could not be decoded; told before its zeros are handed on. */
  undecodable(span: TimeSpan): void;
}

/**
 * The output's line of time: takes runs of samples at true positions, and hands on contiguous blocks. What lies
 * between two runs becomes zeros, what overlaps or lies before `startSample` is dropped.
 */
export class Timeline {
  /** End of the audio so far, in output samples from the start of the file. */
  end = 0;
  readonly undecodable: TimeSpan[] = [];
  #block: Float32Array;
  #filled = 0;
  #blockStart: number;
  readonly #first: number;
  readonly #sampleRate: number;
  readonly #listener: Listener;

  constructor(sampleRate: number, startSample: number, listener: Listener) {
    this.#sampleRate = sampleRate;
    this.#first = startSample;
    this.#blockStart = startSample;
    this.#block = new Float32Array(sampleRate * BLOCK_SECONDS);
    this.#listener = listener;
  }

  /** Notes that nothing is known of a stretch. Stretches come in order; what lies before the first block is left out. */
  markUndecodable(startSample: number, endSample: number): void {
    const startMs = (Math.max(startSample, this.#first) * 1000) / this.#sampleRate;
    const endMs = (endSample * 1000) / this.#sampleRate;
    if (endMs <= startMs) return;
    this.#listener.undecodable({ startMs, endMs });
    const last = this.undecodable.at(-1);
    if (last && (startMs <= last.endMs || this.undecodable.length === MAX_SPANS)) last.endMs = endMs;
    else this.undecodable.push({ startMs, endMs });
  }

  /** Continues with silence up to `sample`. */
  silenceTo(sample: number): void {
    if (sample <= this.end) return;
    this.#append(sample - Math.max(this.end, this.#next), (block, at, length) =>
      block.fill(0, at, at + length),
    );
    this.end = sample;
  }

  /** Appends samples that belong at `start`. */
  write(start: number, pcm: Float32Array): void {
    this.silenceTo(start);
    const skip = Math.max(this.end, this.#next) - start;
    if (pcm.length > skip) {
      let from = skip;
      this.#append(pcm.length - skip, (block, at, length) => {
        for (let i = 0; i < length; i++) block[at + i] = limited(pcm[from + i]!);
        from += length;
      });
    }
    this.end = Math.max(this.end, start + pcm.length);
  }

  /** Hands on what is left. */
  finish(): void {
    if (this.#filled > 0) this.#listener.pcm(this.#blockStart, this.#block.subarray(0, this.#filled));
    this.#blockStart = this.#next;
    this.#filled = 0;
  }

  /** The first sample that has not been written into a block. */
  get #next(): number {
    return this.#blockStart + this.#filled;
  }

  #append(samples: number, fill: (block: Float32Array, at: number, length: number) => void): void {
    while (samples > 0) {
      const length = Math.min(samples, this.#block.length - this.#filled);
      fill(this.#block, this.#filled, length);
      this.#filled += length;
      samples -= length;
      if (this.#filled === this.#block.length) this.finish();
    }
  }
}

/** -1..1, and silence for what is no number or infinite. */
export function limited(sample: number): number {
  if (sample >= -1 && sample <= 1) return sample;
  return Number.isFinite(sample) ? Math.sign(sample) : 0;
}
