import { rmsOf, SAMPLE_RATE, samplesOf, sine } from './sound.ts';

/** Works on a whole bus in place; `beats` are the samples at which beats fall. */
export type Effect = (bus: Float32Array, beats: readonly number[]) => void;

/** One-pole low-pass. */
export const lowPass =
  (hz: number): Effect =>
  (bus) => {
    const a = 1 - Math.exp((-2 * Math.PI * hz) / SAMPLE_RATE);
    let low = 0;
    for (let i = 0; i < bus.length; i++) {
      low += a * (bus[i]! - low);
      bus[i] = low;
    }
  };

/** One-pole high-pass. */
export const highPass =
  (hz: number): Effect =>
  (bus) => {
    const a = 1 - Math.exp((-2 * Math.PI * hz) / SAMPLE_RATE);
    let low = 0;
    for (let i = 0; i < bus.length; i++) {
      low += a * (bus[i]! - low);
      bus[i]! -= low;
    }
  };

/** A valve amplifier: saturation, a little lopsided. */
export const drive =
  (gain: number): Effect =>
  (bus) => {
    for (let i = 0; i < bus.length; i++) bus[i] = (Math.tanh(bus[i]! * gain + 0.15) - 0.149) * 0.7;
  };

/** A second, slightly wavering copy. */
export const chorus =
  (milliseconds: number, rate = 0.6): Effect =>
  (bus) => {
    const line = new Float32Array(4096);
    for (let i = 0; i < bus.length; i++) {
      line[i & 4095] = bus[i]!;
      const delay = (milliseconds * (1 + 0.35 * sine((i * rate) / SAMPLE_RATE)) * SAMPLE_RATE) / 1000;
      const whole = delay | 0;
      const a = line[(i - whole) & 4095]!;
      const b = line[(i - whole - 1) & 4095]!;
      bus[i] = 0.65 * (bus[i]! + a + (delay - whole) * (b - a));
    }
  };

export const tremolo =
  (depth: number, rate: number): Effect =>
  (bus) => {
    for (let i = 0; i < bus.length; i++) bus[i]! *= 1 - depth * (0.5 + 0.5 * sine((i * rate) / SAMPLE_RATE));
  };

/** The duck under every beat that dance music lives on. */
export const pump =
  (depth: number): Effect =>
  (bus, beats) => {
    beats.forEach((start, n) => {
      const length = (beats[n + 1] ?? bus.length) - start;
      const rise = Math.min(length, SAMPLE_RATE * 0.3);
      for (let i = 0; i < rise; i++) bus[start + i]! *= 1 - depth * (1 - i / rise) ** 1.5;
    });
  };

/** Echoes of the beat, each duller than the one before. */
export function echo(input: Float32Array, seconds: number, feedback: number): Float32Array {
  const length = samplesOf(seconds);
  const out = new Float32Array(input.length);
  let low = 0;
  for (let i = length; i < input.length; i++) {
    low += 0.35 * (input[i - length]! + feedback * out[i - length]! - low);
    out[i] = low;
  }
  return out;
}

/** Delay lines in samples at half the rate, mutually prime; the shortest bounds the block that is worked on at once. */
const LINES = [443, 509, 577, 653, 751, 847, 941, 1039];

/**
 * A room: eight delay lines that feed each other through a Householder matrix, damped in the treble. Walls swallow
 * the treble, so half the sample rate is enough for it.
 * @param size 0.5 (chamber) .. 2 (hall)
 * @param decay seconds until -60 dB
 */
export function reverb(dry: Float32Array, size: number, decay: number): Float32Array {
  const preDelay = samplesOf(0.012);
  const input = new Float32Array((dry.length + preDelay) >> 1);
  for (let i = preDelay >> 1, at = 0; at + 1 < dry.length; i++, at += 2) {
    input[i] = 0.5 * (dry[at]! + dry[at + 1]!);
  }
  const wet = room(input, size, decay);
  const out = new Float32Array(dry.length);
  for (let i = 0; i + 1 < wet.length && 2 * i + 1 < out.length; i++) {
    out[2 * i] = wet[i]!;
    out[2 * i + 1] = 0.5 * (wet[i]! + wet[i + 1]!);
  }
  return out;
}

function room(input: Float32Array, size: number, decay: number): Float32Array {
  const out = new Float32Array(input.length);
  const blockSize = Math.floor(LINES[0]! * size * 0.9);
  const lines = LINES.map((length, n) => ({
    buffer: new Float32Array(Math.round(length * size)),
    at: 0,
    loss: 10 ** ((-6 * Math.round(length * size)) / (decay * SAMPLE_RATE)),
    low: 0,
    sign: n & 1 ? -1 : 1,
    block: new Float32Array(blockSize),
  }));
  const sum = new Float32Array(blockSize);

  for (let start = 0; start < input.length; start += blockSize) {
    const count = Math.min(blockSize, input.length - start);
    sum.fill(0);
    for (const line of lines) {
      const { buffer, loss, sign, block } = line;
      let { at, low } = line;
      for (let i = 0; i < count; i++) {
        low += 0.75 * (buffer[at]! * loss - low);
        if (++at === buffer.length) at = 0;
        block[i] = low;
        sum[i]! += low;
        out[start + i]! += sign * low;
      }
      line.low = low;
    }
    for (const line of lines) {
      const { buffer, sign, block } = line;
      let { at } = line;
      for (let i = 0; i < count; i++) {
        buffer[at] = block[i]! - 0.25 * sum[i]! + sign * 0.35 * input[start + i]!;
        if (++at === buffer.length) at = 0;
      }
      line.at = at;
    }
  }
  return out;
}

/** Brings a mix to the loudness of released music: a slow levelling, then a soft ceiling at -1 dBFS. */
export function master(mix: Float32Array): void {
  const ceiling = 10 ** (-1 / 20);
  const threshold = 0.04;
  const gain = 0.2 / (rmsOf(mix) || 1) / ceiling;
  let follower = 0;
  for (let start = 0; start < mix.length; start += 64) {
    const end = Math.min(mix.length, start + 64);
    let power = 0;
    for (let i = start; i < end; i++) power += (mix[i]! * gain) ** 2 / (end - start);
    follower += (power > follower ? 0.2 : 0.011) * (power - follower);
    // Above -14 dBFS the level grows by two thirds only.
    const squeezed = gain * (follower > threshold ? (threshold / follower) ** (1 / 6) : 1);
    for (let i = start; i < end; i++) {
      const y = mix[i]! * squeezed;
      const size = Math.abs(y);
      mix[i] = ceiling * (size < 0.6 ? y : Math.sign(y) * (0.6 + 0.4 * Math.tanh((size - 0.6) / 0.4)));
    }
  }
}
