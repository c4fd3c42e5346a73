import type { Random } from './random.ts';
import { SAMPLE_RATE, samplesOf, setLevel } from './sound.ts';

/** A street: the rumble of the town, cars that come and go, wind on the microphone. */
export function street(seconds: number, random: Random): Float32Array {
  const out = new Float32Array(samplesOf(seconds));
  pinkNoise(out, random, 0.5);
  for (let at = random.between(-3, 1); at < seconds; at += random.between(2.5, 7)) {
    car(out, at, random.between(2.5, 6), random.between(0.5, 1.6), random);
  }
  wind(out, random);
  return setLevel(out, -20);
}

/** Adds noise that falls by 3 dB per octave (Kellet's filter). */
function pinkNoise(out: Float32Array, random: Random, level: number): void {
  let a = 0;
  let b = 0;
  let c = 0;
  for (let i = 0; i < out.length; i++) {
    const white = random.next() * 2 - 1;
    a = 0.99765 * a + white * 0.099046;
    b = 0.963 * b + white * 0.2965164;
    c = 0.57 * c + white * 1.0526913;
    out[i]! += level * 0.2 * (a + b + c + white * 0.1848);
  }
}

/** Tyres and engine: noise and a low buzz that swell, brighten and drop in pitch as the car passes. */
function car(out: Float32Array, at: number, seconds: number, level: number, random: Random): void {
  const start = samplesOf(at);
  const length = samplesOf(seconds);
  const engine = random.between(38, 75);
  let low = 0;
  let rumble = 0;
  let phase = 0;
  for (let i = Math.max(0, -start); i < length && start + i < out.length; i++) {
    const t = i / length;
    const near = Math.exp(-(((t - 0.5) / 0.16) ** 2));
    low += (0.05 + 0.3 * near) * (random.next() * 2 - 1 - low);
    phase += (engine * (t < 0.5 ? 1.04 : 0.96)) / SAMPLE_RATE;
    rumble += 0.04 * ((phase % 1) - 0.5 - rumble);
    out[start + i]! += level * near * (low + 0.8 * rumble);
  }
}

/** Slow gusts of very low noise. */
function wind(out: Float32Array, random: Random): void {
  let low = 0;
  let lower = 0;
  let gust = 0;
  let aim = 0;
  for (let i = 0; i < out.length; i++) {
    if (i % (SAMPLE_RATE >> 1) === 0) aim = random.chance(0.4) ? random.next() : 0.1;
    gust += 0.00005 * (aim - gust);
    low += 0.03 * (random.next() * 2 - 1 - low);
    lower += 0.03 * (low - lower);
    out[i]! += 1.6 * gust * lower;
  }
}
