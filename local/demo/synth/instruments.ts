import type { Random } from './random.ts';
import { SAMPLE_RATE, samplesOf, sine, TABLE_SIZE, type Wave, waveTable } from './sound.ts';
import { hertz } from './theory.ts';

/** One note to be played: when it starts and how long the key is held, in samples. */
export interface Tone {
  start: number;
  samples: number;
  /** MIDI number; fractions are cents. */
  pitch: number;
  /** 0..1 */
  velocity: number;
}

/** Adds one note to the bus; the release may go on after the key is up. */
export type Instrument = (bus: Float32Array, tone: Tone, random: Random) => void;

/** Attack, decay and release in seconds (to -40 dB where they fall), sustain 0..1. */
export interface Envelope {
  attack: number;
  decay: number;
  sustain: number;
  release: number;
}

/** Envelopes, filters and vibrato move once per so many samples (2 ms). */
const BLOCK = 64;

/** Level of an envelope `t` samples after key-down, `held` samples long: linear attack, exponential falls. */
function levelAt({ attack, decay, sustain, release }: Envelope, t: number, held: number): number {
  const seconds = Math.min(t, held) / SAMPLE_RATE;
  const down =
    seconds < attack
      ? seconds / attack
      : sustain + (1 - sustain) * Math.exp((-4.6 * (seconds - attack)) / decay);
  return t <= held ? down : down * Math.exp((-4.6 * (t - held)) / (release * SAMPLE_RATE));
}

export interface Subtractive extends Envelope {
  wave: Wave;
  /** How many oscillators play in unison, spread over `detune` cents. */
  unison?: number;
  detune?: number;
  /** Level of a sine one octave below. */
  sub?: number;
  /** Level of breath noise. */
  breath?: number;
  /** Low-pass: corner in Hz at middle C (it follows the pitch by half), octaves the envelope opens it by. */
  cutoff: number;
  sweep?: number;
  sweepTime?: number;
  /** 0 (none) .. 0.95 (whistles). */
  resonance?: number;
  /** Depth in cents, rate in Hz; sets in after a third of a second. */
  vibrato?: number;
  vibratoRate?: number;
}

/** The classic synthesiser: oscillators, a resonant low-pass filter, envelopes. */
export function subtractive(options: Subtractive): Instrument {
  const { wave, unison = 1, detune = 0, sub = 0, breath = 0, cutoff } = options;
  const { sweep = 0, sweepTime = 0.3, resonance = 0.1, vibrato = 0, vibratoRate = 5.3 } = options;
  const damping = 2 - 2 * Math.min(resonance, 0.95);

  return (bus, { start, samples, pitch, velocity }, random) => {
    const hz = hertz(pitch + random.gauss() * 0.02);
    const table = waveTable(wave, hz);
    const phases = Array.from({ length: unison }, () => random.next() * TABLE_SIZE);
    const ratios = phases.map(
      (_, i) => 2 ** ((unison === 1 ? 0 : (i / (unison - 1) - 0.5) * detune + random.gauss()) / 1200),
    );
    const tracking = cutoff * Math.sqrt(hz / 261.6) * (0.7 + 0.5 * velocity);
    const end = Math.min(bus.length, start + samples + samplesOf(options.release));
    const gain = (velocity * 0.5) / Math.sqrt(unison);
    const round = waveTable('sine', hz);
    const block = new Float64Array(BLOCK);
    const vibratoPhase = random.next();
    let subPhase = 0;
    let hiss = 0;
    let low = 0;
    let band = 0;
    let level = 0;

    for (let at = start; at < end; at += BLOCK) {
      const t = at - start;
      const size = Math.min(BLOCK, end - at);
      const seconds = t / SAMPLE_RATE;
      const depth = vibrato * Math.min(1, Math.max(0, seconds - 0.15) * 3);
      const bend = depth ? 2 ** ((depth * sine(vibratoPhase + seconds * vibratoRate)) / 1200) : 1;
      const step = (hz * bend * TABLE_SIZE) / SAMPLE_RATE;

      block.fill(0);
      for (let u = 0; u < unison; u++) {
        let phase = phases[u]!;
        const own = step * ratios[u]!;
        for (let i = 0; i < size; i++) {
          const whole = phase | 0;
          const a = table[whole]!;
          block[i]! += a + (phase - whole) * (table[whole + 1]! - a);
          phase += own;
          if (phase >= TABLE_SIZE) phase -= TABLE_SIZE;
        }
        phases[u] = phase;
      }
      if (sub > 0) {
        for (let i = 0; i < size; i++) {
          block[i]! += sub * round[subPhase | 0]!;
          subPhase += step * 0.5;
          if (subPhase >= TABLE_SIZE) subPhase -= TABLE_SIZE;
        }
      }
      if (breath > 0) {
        for (let i = 0; i < size; i++) {
          hiss += 0.4 * (random.next() * 2 - 1 - hiss);
          block[i]! += breath * hiss;
        }
      }

      // State-variable low-pass in its stable, trapezoidal form.
      const open = sweep * Math.exp((-3 * seconds) / sweepTime);
      const corner = Math.min(tracking * 2 ** open, SAMPLE_RATE * 0.42);
      const g = Math.tan((Math.PI * corner) / SAMPLE_RATE);
      const a1 = 1 / (1 + g * (g + damping));
      const next = levelAt(options, t + size, samples);
      const slope = (next - level) / size;
      for (let i = 0; i < size; i++) {
        const high = block[i]! - low;
        const v1 = a1 * (band + g * high);
        const v2 = low + g * v1;
        band = 2 * v1 - band;
        low = 2 * v2 - low;
        level += slope;
        bus[at + i]! += v2 * level * gain;
      }
    }
  };
}

export interface FrequencyModulation extends Envelope {
  /** Frequency of the modulator per frequency of the carrier. */
  ratio: number;
  /** Brightness: modulation index at full velocity, and the share of it that stays; seconds it takes to fall. */
  index: number;
  indexSustain?: number;
  indexDecay: number;
  /** A second, quieter pair: the tine of an electric piano, the clang of a bell. */
  tine?: { ratio: number; index: number; level: number; decay: number };
  vibrato?: number;
}

/** Two sines, one bending the other: electric pianos, bells, brass. */
export function fm(options: FrequencyModulation): Instrument {
  const { ratio, index, indexSustain = 0, indexDecay, tine, vibrato = 0 } = options;

  return (bus, { start, samples, pitch, velocity }, random) => {
    const hz = hertz(pitch + random.gauss() * 0.015);
    const end = Math.min(bus.length, start + samples + samplesOf(options.release));
    const gain = velocity * 0.42;
    const touch = 0.4 + 0.8 * velocity;
    // Modulation that would fold back at the Nyquist frequency is taken out of high notes.
    const room = Math.max(0.1, Math.min(1, (SAMPLE_RATE * 0.4 - hz) / (hz * ratio * (index + 1))));
    let carrier = 0;
    let modulator = random.next() * 0.05;
    let second = 0;
    let third = 0;
    let level = 0;

    for (let at = start; at < end; at += BLOCK) {
      const t = at - start;
      const size = Math.min(BLOCK, end - at);
      const seconds = t / SAMPLE_RATE;
      const bend = vibrato ? 2 ** ((vibrato * Math.min(1, seconds * 2) * sine(seconds * 5.1)) / 1200) : 1;
      const step = (hz * bend) / SAMPLE_RATE;
      const fall = indexSustain + (1 - indexSustain) * Math.exp((-4 * seconds) / indexDecay);
      const depth = (index * room * touch * fall) / (2 * Math.PI);
      const strike = tine ? tine.level * touch * Math.exp((-4 * seconds) / tine.decay) : 0;
      const strikeDepth = tine ? tine.index / (2 * Math.PI) : 0;
      const strikeStep = tine ? step * tine.ratio : 0;
      const next = levelAt(options, t + size, samples);
      const slope = (next - level) / size;
      for (let i = 0; i < size; i++) {
        let out = sine(carrier + 8 + depth * sine(modulator));
        if (strike > 0.0005) {
          out += strike * sine(second + 8 + strikeDepth * sine(third));
          second += step;
          third += strikeStep;
        }
        carrier += step;
        modulator += step * ratio;
        level += slope;
        bus[at + i]! += out * level * gain;
      }
      carrier -= Math.floor(carrier);
      modulator -= Math.floor(modulator);
      second -= Math.floor(second);
      third -= Math.floor(third);
    }
  };
}

export interface Plucked {
  /** Seconds until middle C has lost 40 dB. */
  ring: number;
  /** 0 (felt) .. 1 (steel plectrum). */
  brightness: number;
  /** Where the string is plucked, 0..0.5 of its length. */
  position?: number;
  /** Seconds until the string is dead once it is let go. */
  release?: number;
  /** Cents that the string is sharp right after a hard pluck. */
  twang?: number;
}

/** A string: a burst of noise running round a delay line that loses its treble (Karplus-Strong). */
export function plucked(options: Plucked): Instrument {
  const { ring, brightness, position = 0.18, release = 0.12, twang = 0 } = options;

  return (bus, { start, samples, pitch, velocity }, random) => {
    const hz = hertz(pitch + (twang * velocity) / 100 + random.gauss() * 0.03);
    const bright = Math.min(0.98, brightness * (0.55 + 0.5 * velocity));
    const blend = 0.5 + 0.5 * bright;
    // The loop's own low-pass delays by 1 - blend samples; what is left over is read between two samples.
    const period = SAMPLE_RATE / hz - (1 - blend);
    const length = Math.floor(period);
    const fraction = period - length;
    const line = new Float32Array(length + 1);
    let smooth = 0;
    for (let i = 0; i <= length; i++) {
      smooth += (0.12 + 0.88 * bright) * (random.next() * 2 - 1 - smooth);
      line[i] = smooth;
    }
    // A string plucked at a place lacks the harmonics that have a node there.
    const notch = Math.max(1, Math.round(length * position));
    const excitation = line.slice();
    for (let i = 0; i <= length; i++) line[i]! -= 0.9 * excitation[(i + length + 1 - notch) % (length + 1)]!;

    const loss = Math.exp((-4.6 / (ring * hz)) * (hz / 261.6) ** 0.4);
    const deadLoss = Math.exp(-4.6 / (release * hz));
    const end = Math.min(bus.length, start + Math.min(samples + samplesOf(release), samplesOf(ring * 1.5)));
    const letGo = start + samples;
    const gain = velocity * 0.9;
    const fadeIn = Math.max(8, Math.round((1 - bright) * 60));
    let read = 0;
    let last = 0;
    for (let at = start; at < end; at++) {
      const following = read === length ? 0 : read + 1;
      const out = line[read]! + (1 - fraction) * (line[following]! - line[read]!);
      line[read] = (blend * out + (1 - blend) * last) * (at < letGo ? loss : deadLoss);
      last = out;
      read = following;
      const t = at - start;
      bus[at]! += out * gain * (t < fadeIn ? t / fadeIn : 1);
    }
  };
}
