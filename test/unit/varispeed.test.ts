import { describe, expect, it } from 'vitest';
import { Varispeed } from '../../functions/steps/varispeed.ts';

const RATE = 16_000;
const sine = (hertz: number, start: number, samples: number) =>
  Float32Array.from({ length: samples }, (_, i) => Math.sin((2 * Math.PI * hertz * (start + i)) / RATE));

/** A stretch of a sine that goes on for ever, at another speed. */
function played(varispeed: Varispeed, hertz: number, start: number, samples: number): Float32Array {
  const input = varispeed.inputFor(start, samples);
  return varispeed.play(sine(hertz, input.start, input.samples), start, samples);
}

const worst = (a: Float32Array, b: Float32Array) =>
  a.reduce((most, x, i) => Math.max(most, Math.abs(x - b[i]!)), 0);

describe('another speed', () => {
  for (const speed of [0.87, 1, 1.18, 1.25]) {
    it(`of ${speed} makes a tone that much lower, in step from the first sample on`, () => {
      const tone = played(new Varispeed(speed), 1000, 0, RATE);
      expect(worst(tone, sine(1000 / speed, 0, RATE))).toBeLessThan(0.02);
    });
  }

  it('is the same in one stretch as in many', () => {
    const varispeed = new Varispeed(0.87);
    const whole = played(varispeed, 440, 0, 5000);
    const parts = [0, 1, 87, 1234, 4999].map((start, i, starts) =>
      played(varispeed, 440, start, (starts[i + 1] ?? 5000) - start),
    );
    expect(worst(Float32Array.from(parts.flatMap((part) => [...part])), whole)).toBeLessThan(1e-6);
  });

  it('that is faster does not fold what gets too high back into the music', () => {
    const tone = played(new Varispeed(0.8), 7600, 0, RATE); // would be 9500 Hz
    expect(worst(tone, new Float32Array(RATE))).toBeLessThan(0.02);
  });

  it('makes audio that much longer', () => {
    expect(new Varispeed(1.18).lengthOf(RATE)).toBe(18_880);
  });
});
