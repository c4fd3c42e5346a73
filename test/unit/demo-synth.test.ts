import { describe, expect, it } from 'vitest';
import { street } from '../../local/demo/synth/noise.ts';
import { CATALOGUE, UNREGISTERED } from '../../local/demo/synth/pieces.ts';
import { Random } from '../../local/demo/synth/random.ts';
import { render } from '../../local/demo/synth/render.ts';
import { rmsOf, SAMPLE_RATE } from '../../local/demo/synth/sound.ts';
import { nearest, readBars, readChord, readScale, stepFrom, voicing } from '../../local/demo/synth/theory.ts';
import { crowd, speak } from '../../local/demo/synth/voice.ts';

const PIECES = [...CATALOGUE, UNREGISTERED];
const SHORT = { ...CATALOGUE.find(({ title }) => title === 'Cartridge Hero')!, form: 'verse' };
const decibels = (ratio: number) => 20 * Math.log10(ratio);
const peakOf = (audio: Float32Array) => audio.reduce((peak, x) => Math.max(peak, Math.abs(x)), 0);
const isSound = (audio: Float32Array) => audio.every((x) => Number.isFinite(x));

/** Loudness of each second, dBFS. */
function loudness(audio: Float32Array): number[] {
  const seconds = Math.floor(audio.length / SAMPLE_RATE);
  return Array.from({ length: seconds }, (_, s) =>
    decibels(rmsOf(audio.subarray(s * SAMPLE_RATE, (s + 1) * SAMPLE_RATE))),
  );
}

// A minute of music takes half a second to play; on a crowded machine much longer.
describe('the pieces', { timeout: 120_000 }, () => {
  it.each(PIECES)('$title is a piece of music: 45 to 90 s, full level, no clipping, no hole', (piece) => {
    const audio = render(piece);

    const seconds = audio.length / SAMPLE_RATE;
    expect(seconds).toBeGreaterThan(45);
    expect(seconds).toBeLessThan(90);
    expect(isSound(audio)).toBe(true);
    expect(decibels(peakOf(audio))).toBeLessThan(-0.9);
    expect(decibels(rmsOf(audio))).toBeGreaterThan(-20);
    expect(decibels(peakOf(audio) / rmsOf(audio))).toBeGreaterThan(9);
    expect(Math.min(...loudness(audio).slice(1, -4))).toBeGreaterThan(-45);
  });

  it('differ in title, artist, tempo, key and band', () => {
    for (const facet of ['title', 'artist', 'bpm', 'key', 'seed', 'genre'] as const) {
      expect(new Set(PIECES.map((piece) => piece[facet])).size, facet).toBe(PIECES.length);
    }
  });

  it('sound the same every time', () => {
    expect(Buffer.from(render(SHORT).buffer).equals(Buffer.from(render(SHORT).buffer))).toBe(true);
  });

  it('are played differently with another seed', () => {
    const other = render({ ...SHORT, seed: SHORT.seed + 1 });

    const audio = render(SHORT);
    const shared = Math.min(audio.length, other.length);
    const difference = audio.subarray(0, shared).map((x, i) => x - other[i]!);
    expect(rmsOf(difference)).toBeGreaterThan(rmsOf(audio));
  });

  it('name the section that is missing', () => {
    expect(() => render({ ...SHORT, form: 'intro encore' })).toThrow(
      'Cartridge Hero has no section "encore"',
    );
  });
});

describe('voices and places', () => {
  it('speak in syllables and fall silent between phrases', () => {
    const audio = speak(20, { pitch: 120, tract: 1 }, new Random(1));

    const frames = Array.from({ length: 1000 }, (_, i) => rmsOf(audio.subarray(i * 640, (i + 1) * 640)));
    const silent = frames.filter((level) => decibels(level) < -50).length / frames.length;
    expect(isSound(audio)).toBe(true);
    expect(decibels(rmsOf(audio))).toBeCloseTo(-20, 1);
    expect(silent).toBeGreaterThan(0.03);
    expect(silent).toBeLessThan(0.4);
  });

  it('say something else with every seed, and the same with the same one', () => {
    const say = (seed: number) => speak(2, { pitch: 120, tract: 1 }, new Random(seed));

    expect(say(1)).toEqual(say(1));
    expect(say(1)).not.toEqual(say(2));
  });

  it.each([
    ['street', street],
    ['crowd', crowd],
  ])('a %s never falls silent', (_, place) => {
    const audio = place(12, new Random(5));

    expect(audio.length).toBe(12 * SAMPLE_RATE);
    expect(isSound(audio)).toBe(true);
    expect(Math.min(...loudness(audio))).toBeGreaterThan(-38);
  });
});

describe('theory', () => {
  it('reads lead sheets', () => {
    expect(readBars('Am7 | Bb C | F#m7b5')).toEqual([
      [{ root: 9, tones: [0, 3, 7, 10] }],
      [
        { root: 10, tones: [0, 4, 7] },
        { root: 0, tones: [0, 4, 7] },
      ],
      [{ root: 6, tones: [0, 3, 6, 10] }],
    ]);
    expect(() => readChord('Hm')).toThrow('"Hm" does not start with a note name');
    expect(() => readChord('Cfoo')).toThrow('unknown chord "Cfoo"');
  });

  it('voices chords close to where the hand is', () => {
    expect(voicing(readChord('C'), 60)).toEqual([55, 60, 64]);
    expect(nearest(11, 60)).toBe(59);
  });

  it('walks scales across octaves in both directions', () => {
    const scale = readScale('A minor');

    expect([0, 1, 2, 7, -1, -8].map((steps) => stepFrom(scale, 69, steps))).toEqual([69, 71, 72, 81, 67, 55]);
  });
});
