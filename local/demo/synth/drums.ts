import type { Instrument } from './instruments.ts';
import { Random } from './random.ts';
import { SAMPLE_RATE, samplesOf, sine } from './sound.ts';

/** Percussion by its General MIDI number. */
export const DRUMS = {
  kick: 36,
  rim: 37,
  snare: 38,
  clap: 39,
  lowTom: 41,
  hat: 42,
  openHat: 46,
  tom: 47,
  crash: 49,
  ride: 51,
  tambourine: 54,
  dum: 63,
  tek: 62,
  shaker: 70,
} as const;
export type Drum = keyof typeof DRUMS;

/** How a kit differs from another one. */
export interface KitStyle {
  /** Hz that the kick comes to rest at, and seconds it rings. */
  kick: number;
  kickRing: number;
  /** Semitones above an ordinary kit. */
  tuning?: number;
  /** Seconds of the snare's rattle, and its level beside the shell. */
  snareRing?: number;
  rattle?: number;
  /** 0 (dark) .. 1 (bright) metal. */
  brightness?: number;
  /** Steps to which samples are rounded; none is clean, 24 sounds like an old console. */
  crush?: number;
}

/** Takes are recorded once; every hit plays one of them at its own level, as samplers do. */
const TAKES = 4;

/** A drum kit as an instrument: the pitch of a tone says which drum. */
export function kit(style: KitStyle): Instrument {
  const takes = new Map<number, Float32Array[]>();
  const record = (number: number): Float32Array[] => {
    const random = new Random(number * 7919 + Math.round(style.kick * 100));
    const drum = (Object.keys(DRUMS) as Drum[]).find((name) => DRUMS[name] === number);
    if (!drum) throw new RangeError(`no drum has the number ${number}`);
    return Array.from({ length: TAKES }, () => strike(drum, style, random));
  };
  return (bus, { start, pitch, velocity }, random) => {
    const recorded = takes.get(pitch) ?? record(pitch);
    takes.set(pitch, recorded);
    const take = random.pick(recorded);
    // Softer hits are duller, too: a one-pole low-pass that opens with the velocity.
    const open = 0.25 + 0.75 * velocity;
    const end = Math.min(take.length, bus.length - start);
    let smooth = 0;
    for (let i = 0; i < end; i++) {
      smooth += open * (take[i]! - smooth);
      bus[start + i]! += smooth * velocity;
    }
  };
}

function strike(drum: Drum, style: KitStyle, random: Random): Float32Array {
  const { kick, kickRing, tuning = 0, snareRing = 0.16, rattle = 1, brightness = 0.6 } = style;
  const tune = 2 ** ((tuning + random.gauss() * 0.12) / 12);
  const sound = {
    kick: () => skin(kick * tune, 4.2, 0.035, kickRing, 1.15, random, 0.25),
    lowTom: () => skin(85 * tune, 1.7, 0.07, 0.42, 0.8, random, 0.15),
    tom: () => skin(128 * tune, 1.6, 0.06, 0.34, 0.75, random, 0.15),
    dum: () => skin(92 * tune, 1.35, 0.09, 0.38, 0.95, random, 0.12),
    tek: () =>
      blend(skin(410 * tune, 1.25, 0.02, 0.09, 0.5, random, 0.5), hiss(0.045, 3200, 0.5, random, 0.5)),
    rim: () => blend(skin(820 * tune, 1.1, 0.01, 0.04, 0.5, random, 0.6), hiss(0.02, 4500, 0.4, random, 0.5)),
    snare: () =>
      blend(
        skin(186 * tune, 1.5, 0.03, 0.14, 0.6, random, 0.3),
        hiss(snareRing, 2400 + 2600 * brightness, 0.75 * rattle, random, 0.35),
      ),
    clap: () => clap(snareRing * 1.2, random),
    hat: () => metal(0.055, 7000 + 3000 * brightness, 0.42, tune, random),
    openHat: () => metal(0.34, 6500 + 3000 * brightness, 0.4, tune, random),
    ride: () => metal(0.75, 4200 + 3000 * brightness, 0.26, tune * 0.8, random),
    crash: () => metal(1.6, 3200 + 2500 * brightness, 0.5, tune * 0.7, random),
    tambourine: () => metal(0.16, 6500, 0.55, tune * 1.3, random),
    shaker: () => hiss(0.06, 6500, 0.28, random, 0.6, 0.018),
  }[drum]();
  if (style.crush)
    for (let i = 0; i < sound.length; i++) sound[i] = Math.round(sound[i]! * style.crush) / style.crush;
  return sound;
}

/** A struck skin: a sine that falls from `drop` times its pitch, a second mode, and the click of the beater. */
function skin(
  hz: number,
  drop: number,
  dropTime: number,
  ring: number,
  level: number,
  random: Random,
  click: number,
): Float32Array {
  const out = new Float32Array(samplesOf(ring * 1.6));
  const overtone = 1.59 + random.between(-0.03, 0.03);
  let phase = 0;
  let second = 0;
  let smooth = 0;
  for (let i = 0; i < out.length; i++) {
    const t = i / SAMPLE_RATE;
    const now = hz * (1 + (drop - 1) * Math.exp(-t / dropTime));
    phase += now / SAMPLE_RATE;
    second += (now * overtone) / SAMPLE_RATE;
    smooth += 0.5 * (random.next() * 2 - 1 - smooth);
    const body = sine(phase) + 0.25 * sine(second) * Math.exp(-t / (ring * 0.12));
    out[i] =
      level * Math.tanh(1.4 * body) * Math.exp((-4.6 * t) / ring) * Math.min(1, i / 24) +
      click * smooth * Math.exp(-t / 0.004);
  }
  return out;
}

/** Noise above a corner: rattles and shakers. */
function hiss(
  ring: number,
  corner: number,
  level: number,
  random: Random,
  darkness: number,
  attack = 0.0005,
): Float32Array {
  const out = new Float32Array(samplesOf(ring * 1.8 + attack));
  const pole = Math.exp((-2 * Math.PI * corner * darkness) / SAMPLE_RATE);
  let low = 0;
  for (let i = 0; i < out.length; i++) {
    const t = i / SAMPLE_RATE;
    const white = random.next() * 2 - 1;
    low = white * (1 - pole) + low * pole;
    out[i] =
      level * (white - low) * Math.min(1, t / attack) * Math.exp((-4.6 * Math.max(0, t - attack)) / ring);
  }
  return out;
}

/** Cymbals: six square waves that fit nowhere, some noise, and only the top of it all. */
function metal(ring: number, corner: number, level: number, tune: number, random: Random): Float32Array {
  const out = new Float32Array(samplesOf(ring * 1.5));
  const partials = [317, 465, 558, 831, 1047, 1480].map(
    (hz) => hz * tune * 1.7 * (1 + random.gauss() * 0.004),
  );
  const phases = partials.map(() => random.next());
  const pole = Math.exp((-2 * Math.PI * corner) / SAMPLE_RATE);
  let low = 0;
  let lower = 0;
  for (let i = 0; i < out.length; i++) {
    const t = i / SAMPLE_RATE;
    let sum = (random.next() * 2 - 1) * 1.6;
    for (let p = 0; p < 6; p++) {
      let phase = phases[p]! + partials[p]! / SAMPLE_RATE;
      if (phase >= 1) phase -= 1;
      phases[p] = phase;
      sum += phase < 0.5 ? 0.5 : -0.5;
    }
    low = sum * (1 - pole) + low * pole;
    const high = sum - low;
    lower = high * (1 - pole) + lower * pole;
    out[i] = level * 1.9 * (high - lower) * Math.exp((-4.6 * t) / ring);
  }
  return out;
}

/** Three hands that are nearly together, and the room. */
function clap(ring: number, random: Random): Float32Array {
  const out = new Float32Array(samplesOf(ring * 1.6 + 0.03));
  for (const [delay, length, level] of [
    [0, 0.012, 0.6],
    [random.between(0.009, 0.012), 0.012, 0.6],
    [random.between(0.019, 0.024), ring, 0.8],
  ] as const) {
    const hit = hiss(length, 1300, level, random, 0.7);
    const at = samplesOf(delay);
    for (let i = 0; i < hit.length && at + i < out.length; i++) out[at + i]! += hit[i]!;
  }
  return out;
}

function blend(a: Float32Array, b: Float32Array): Float32Array {
  const out = new Float32Array(Math.max(a.length, b.length));
  for (let i = 0; i < out.length; i++) out[i] = (a[i] ?? 0) + (b[i] ?? 0);
  return out;
}
