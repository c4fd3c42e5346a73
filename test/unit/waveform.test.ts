import { describe, expect, it } from 'vitest';
import {
  LEAST_COHERENCE,
  WAVEFORM_RATE as RATE,
  REACH_MS,
  Waveform,
} from '../../functions/core/alignment/waveform.ts';
import { Calibration, confidenceOf, type Features } from '../../functions/core/confidence.ts';
import { hiss, music, seededRandom } from '../support/audio.ts';

const REACH = (REACH_MS * RATE) / 1000;
const song = music(40, RATE, 1);
const seconds = (pcm: Float32Array, from: number, to: number) => pcm.subarray(from * RATE, to * RATE);
/** The song from where the excerpt is expected, with the reach on both sides. */
const beside = (from: number, to: number, pcm = song) => pcm.subarray(from * RATE - REACH, to * RATE + REACH);
const mixed = (pcm: Float32Array, other: Float32Array, gain: number) =>
  pcm.map((x, i) => x + gain * other[i]!);
const agreementOf = (sound: Float32Array, other: Float32Array, middleMs: number) =>
  new Waveform(sound).agreementWith(other, middleMs);
const level = (pcm: Float32Array) => Math.sqrt(pcm.reduce((sum, x) => sum + x * x, 0) / pcm.length);
const noise = (length: number) => {
  const random = seededRandom(5);
  return Float32Array.from({ length }, () => random() - 0.5);
};
const under = (db: number, pcm: Float32Array) => {
  const other = noise(pcm.length);
  return mixed(pcm, other, (level(pcm) / level(other)) * 10 ** (db / 20));
};

describe('the waveforms of one recording', () => {
  it('agree below noise that is ten times as strong', () => {
    const excerpt = under(10, seconds(song, 10, 20));

    const found = agreementOf(excerpt, beside(10, 20), 5000)!;

    expect(found.coherence).toBeGreaterThan(2 * LEAST_COHERENCE);
    expect(Math.abs(found.lagMs)).toBeLessThan(1);
    expect([found.fromMs, found.toMs]).toEqual([0, 10_000]);
  });

  it.each([-400, 137, 480])('agree where they are, %i ms off the expected place', (offMs) => {
    const off = (offMs * RATE) / 1000;
    const excerpt = under(0, song.subarray(10 * RATE + off, 20 * RATE + off));

    const found = agreementOf(excerpt, beside(10, 20), 5000)!;

    expect(found.lagMs).toBeCloseTo(offMs, 0);
  });

  it('agree for as long as both go on, and no longer', () => {
    const upload = Float32Array.from([
      ...hiss(6, RATE),
      ...under(3, seconds(song, 10, 22)),
      ...hiss(7, RATE),
    ]);

    const found = agreementOf(upload, beside(4, 29), 11_000)!;

    expect(Math.abs(found.fromMs - 6000)).toBeLessThan(700);
    expect(Math.abs(found.toMs - 18_000)).toBeLessThan(700);
  });

  it('agree upside down', () => {
    const upsideDown = seconds(song, 10, 15).map((x) => -x);

    const found = agreementOf(upsideDown, beside(10, 15), 2500)!;

    expect(found.coherence).toBeGreaterThan(2 * LEAST_COHERENCE);
    expect([found.fromMs, found.toMs]).toEqual([0, 5000]);
  });

  it('agree by a clock that is 80 millionths too fast', () => {
    const fast = Float32Array.from({ length: 10 * RATE }, (_, i) => {
      const at = 10 * RATE + i * (1 + 80e-6);
      const before = Math.floor(at);
      return song[before]! + (at - before) * (song[before + 1]! - song[before]!);
    });

    const found = agreementOf(under(0, fast), beside(10, 20), 5000)!;

    expect(found.coherence).toBeGreaterThan(2 * LEAST_COHERENCE);
    expect([found.fromMs, found.toMs]).toEqual([0, 10_000]);
  });
});

describe('the waveforms of two recordings', () => {
  it.each([2, 3, 4, 5])('agree by chance only (%i)', (seed) => {
    const other = music(40, RATE, seed);

    expect(agreementOf(seconds(other, 10, 20), beside(10, 20), 5000)).toBeUndefined();
  });

  it('do not agree in silence', () => {
    const silence = new Float32Array(5 * RATE);

    expect(agreementOf(silence, beside(10, 15), 2500)).toBeUndefined();
    expect(agreementOf(seconds(song, 10, 15), new Float32Array(7 * RATE), 2500)).toBeUndefined();
  });

  it('are no proof between the lines of two hums', () => {
    const humming = (hz: number, length: number) =>
      Float32Array.from({ length: length * RATE }, (_, i) => {
        const harmonics = Array.from({ length: 12 }, (_, k) =>
          Math.sin((2 * Math.PI * hz * (k + 1) * i) / RATE),
        );
        return harmonics.reduce((sum, x, k) => sum + x / (k + 1), 0) / 10;
      });

    const coherences = [92.5, 55, 60].map(
      (hz) => agreementOf(humming(50, 10), humming(hz, 12), 5000)?.coherence ?? 0,
    );

    expect(Math.max(...coherences)).toBeLessThan(1.5 * LEAST_COHERENCE);
  });

  it('are not compared over less than a second', () => {
    expect(agreementOf(seconds(song, 10, 11), beside(10, 11), 500)).toBeUndefined();
  });
});

it('makes a match sure where it cannot be chance, and says nothing where it can', () => {
  const weak: Features = {
    score: 1,
    field: 5,
    contrast: 0,
    cosine: 0.4,
    lead: 0,
    ahead: 0,
    seconds: 5,
    explained: 1,
    speed: 1,
    links: 0,
  };
  const confidence = (coherence: number) => confidenceOf({ ...weak, coherence }, Calibration.parse({}));

  expect(confidence(LEAST_COHERENCE)).toBeLessThan(0.1);
  expect(confidence(2 * LEAST_COHERENCE)).toBeGreaterThan(0.95);
});
