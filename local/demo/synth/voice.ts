import type { Random } from './random.ts';
import { mixInto, SAMPLE_RATE, samplesOf, setLevel } from './sound.ts';

/** Formants in Hz of a tract of ordinary length, and how open (loud) the mouth is. */
const VOWELS = {
  i: [290, 2250, 2950, 0.75],
  e: [420, 2000, 2600, 0.85],
  ae: [660, 1720, 2420, 1],
  a: [730, 1120, 2480, 1],
  o: [520, 880, 2450, 0.9],
  u: [320, 900, 2300, 0.75],
  er: [490, 1400, 1750, 0.85],
  uh: [560, 1250, 2450, 0.9],
} as const;

/** Voiced consonants are dull vowels; the others are noise around a centre, or a silence with a burst after it. */
type Consonant =
  | { kind: 'murmur'; formants: readonly [number, number, number]; level: number }
  | { kind: 'hiss'; hz: number; level: number; voiced?: boolean }
  | { kind: 'stop'; hz: number; level: number; voiced?: boolean };

const CONSONANTS: readonly Consonant[] = [
  { kind: 'murmur', formants: [260, 1100, 2200], level: 0.4 },
  { kind: 'murmur', formants: [260, 1600, 2500], level: 0.4 },
  { kind: 'murmur', formants: [350, 1100, 2800], level: 0.55 },
  { kind: 'murmur', formants: [330, 1150, 1650], level: 0.55 },
  { kind: 'murmur', formants: [300, 700, 2200], level: 0.5 },
  { kind: 'hiss', hz: 6200, level: 0.5 },
  { kind: 'hiss', hz: 3200, level: 0.5 },
  { kind: 'hiss', hz: 7500, level: 0.16 },
  { kind: 'hiss', hz: 5600, level: 0.3, voiced: true },
  { kind: 'stop', hz: 900, level: 0.5 },
  { kind: 'stop', hz: 4200, level: 0.6 },
  { kind: 'stop', hz: 1900, level: 0.6 },
  { kind: 'stop', hz: 800, level: 0.35, voiced: true },
  { kind: 'stop', hz: 3600, level: 0.35, voiced: true },
  { kind: 'stop', hz: 1700, level: 0.35, voiced: true },
];

export interface Speaker {
  /** Mean pitch of the voice in Hz: 85-155 for men, 165-255 for women. */
  pitch: number;
  /** Formants relative to an ordinary tract: 0.9 (large) .. 1.2 (small). */
  tract: number;
  /** Syllables a second; people speak at 4 to 6. */
  pace?: number;
}

/** What the mouth does at one moment. */
interface Posture {
  formants: readonly [number, number, number];
  voice: number;
  noise: number;
  noiseHz: number;
}

/** Articulation moves once per so many samples (2.5 ms). */
const STEP = 80;

/**
 * Speech in no language: syllables of consonants and vowels, words, phrases that fall in pitch, breaths between them.
 * A source-filter synthesiser: glottal pulses through four resonators, beside filtered noise.
 */
export function speak(seconds: number, speaker: Speaker, random: Random): Float32Array {
  const out = new Float32Array(samplesOf(seconds));
  const script = articulate(out.length, speaker, random);
  const resonators = [60, 90, 130, 220].map((width) => resonator(width));
  const friction = resonator(900);
  let phase = 0;
  let period = { open: 0.6, shimmer: 1 };
  let pitch = 0;
  let now: Posture = { formants: [500, 1500, 2500], voice: 0, noise: 0, noiseHz: 3000 };
  let last = 0;
  let behindLips = 0;

  for (let start = 0; start < out.length; start += STEP) {
    const { target, hz } = script(start);
    const glide = 0.13;
    now = {
      formants: [0, 1, 2].map(
        (n) => now.formants[n]! + glide * (target.formants[n]! * speaker.tract - now.formants[n]!),
      ) as [number, number, number],
      voice: now.voice + 0.35 * (target.voice - now.voice),
      noise: now.noise + 0.6 * (target.noise - now.noise),
      noiseHz: target.noiseHz,
    };
    now.formants.forEach((formant, n) => void resonators[n]!.tune(formant));
    resonators[3]!.tune(3500 * speaker.tract);
    friction.tune(now.noiseHz);
    pitch += 0.05 * (hz - pitch);

    const end = Math.min(out.length, start + STEP);
    for (let i = start; i < end; i++) {
      phase += pitch / SAMPLE_RATE;
      if (phase >= 1) {
        phase -= 1;
        period = { open: 0.58 + 0.03 * random.gauss(), shimmer: 1 + 0.05 * random.gauss() };
        pitch *= 1 + 0.006 * random.gauss();
      }
      // Airflow: opens slowly, shuts fast; its derivative is what the mouth hears.
      const t = phase / period.open;
      const flow = t < 1 ? t * t * (1 - t) * 6.75 * period.shimmer : 0;
      const breath = random.next() * 2 - 1;
      const source = (flow - last) * 14 * now.voice + breath * (0.012 * now.voice + 0.02 * now.noise);
      last = flow;
      let sound = source;
      for (const { run } of resonators) sound = run(sound);
      // Lips radiate treble better than bass.
      out[i] = 3.5 * (sound - 0.88 * behindLips) + 0.4 * now.noise * friction.run(breath);
      behindLips = sound;
    }
  }
  return setLevel(out, -20);
}

/** Two poles that ring at a frequency; gain 1 at 0 Hz, so that they can stand in a row. */
function resonator(width: number) {
  const r = Math.exp((-Math.PI * width) / SAMPLE_RATE);
  let a = 0;
  let b = 0;
  let c = 0;
  let y1 = 0;
  let y2 = 0;
  return {
    tune(hz: number): void {
      b = 2 * r * Math.cos((2 * Math.PI * Math.min(hz, SAMPLE_RATE * 0.45)) / SAMPLE_RATE);
      c = -r * r;
      a = 1 - b - c;
    },
    run(x: number): number {
      const y = a * x + b * y1 + c * y2;
      y2 = y1;
      y1 = y;
      return y;
    },
  };
}

/** Writes down what is said; the result tells posture and pitch at a sample, asked for in order. */
function articulate(length: number, { pitch, pace = 4.8 }: Speaker, random: Random) {
  const silence: Posture = { formants: [500, 1500, 2500], voice: 0, noise: 0, noiseHz: 3000 };
  const events: { until: number; target: Posture; hz: number }[] = [];
  let at = 0;
  const say = (seconds: number, target: Posture, hz: number) => {
    at += samplesOf(seconds);
    events.push({ until: at, target, hz });
  };
  const vowels = Object.values(VOWELS);

  const consonant = (hz: number, nextFormants: readonly [number, number, number]) => {
    const sound = random.pick(CONSONANTS);
    const slow = random.between(0.85, 1.2);
    if (sound.kind === 'murmur') {
      say(0.065 * slow, { formants: sound.formants, voice: sound.level, noise: 0, noiseHz: 3000 }, hz);
    } else if (sound.kind === 'hiss') {
      const voice = sound.voiced ? 0.3 : 0;
      say(0.09 * slow, { formants: nextFormants, voice, noise: sound.level, noiseHz: sound.hz }, hz);
    } else {
      const closed = sound.voiced ? 0.12 : 0;
      say(0.055 * slow, { formants: [220, 1400, 2400], voice: closed, noise: 0, noiseHz: sound.hz }, hz);
      say(0.014, { formants: nextFormants, voice: 0, noise: sound.level * 1.6, noiseHz: sound.hz }, hz);
      if (!sound.voiced) {
        say(0.03, { formants: nextFormants, voice: 0.05, noise: 0.12, noiseHz: nextFormants[1] }, hz);
      }
    }
  };

  say(random.between(0.05, 0.3), silence, pitch);
  while (at < length) {
    const words = 3 + random.integer(7);
    for (let word = 0; word < words; word++) {
      const syllables = random.pick([1, 1, 1, 2, 2, 3]);
      const stressed = random.integer(syllables);
      for (let syllable = 0; syllable < syllables; syllable++) {
        const progress = (word + syllable / syllables) / words;
        const stress = syllable === stressed ? 1 : 0;
        const final = word === words - 1 && syllable === syllables - 1;
        const hz = pitch * (1.16 - 0.3 * progress + 0.1 * stress + 0.05 * random.gauss() - (final ? 0.1 : 0));
        const [f1, f2, f3, open] = random.pick(vowels);
        const formants = [f1, f2, f3] as const;
        if (random.chance(0.88)) consonant(hz, formants);
        if (random.chance(0.12)) consonant(hz, formants);
        const voice = open * (0.7 + 0.3 * stress) * (1 - 0.25 * progress);
        const long = (0.09 + 0.04 * stress + (final ? 0.09 : 0)) * random.between(0.75, 1.3) * (4.8 / pace);
        say(long, { formants, voice, noise: 0.01, noiseHz: 3000 }, hz * (1 - 0.04 * progress));
        if (random.chance(0.28)) consonant(hz, formants);
      }
      if (random.chance(0.06)) say(random.between(0.05, 0.15), silence, pitch);
    }
    say(random.between(0.25, 0.8), silence, pitch);
  }

  let event = 0;
  return (sample: number): { target: Posture; hz: number } => {
    while (event < events.length - 1 && events[event]!.until <= sample) event++;
    return events[event]!;
  };
}

/** A room full of people: many voices at once, none of them near. */
export function crowd(seconds: number, random: Random): Float32Array {
  const out = new Float32Array(samplesOf(seconds));
  for (let person = 0; person < 8; person++) {
    const own = random.fork(`person ${person}`);
    const speaker = { pitch: own.pick([95, 120, 140, 180, 210, 240]), tract: own.between(0.92, 1.15) };
    const words = speak(Math.min(seconds, 7 + person), speaker, own);
    // Nobody hears that a guest at the next table repeats himself.
    for (let at = -own.integer(words.length); at < out.length; at += words.length) {
      mixInto(out, words, at, own.between(0.5, 1));
    }
  }
  let low = 0;
  for (let i = 0; i < out.length; i++) {
    low += 0.3 * (out[i]! - low);
    out[i] = low;
  }
  return setLevel(out, -20);
}
