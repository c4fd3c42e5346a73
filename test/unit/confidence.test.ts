import { describe, expect, it } from 'vitest';
import { Calibration, calibrationOf, confidenceOf, type Features } from '../../functions/core/confidence.ts';

const DEFAULTS = Calibration.parse({});
const CLEAR: Features = {
  score: 40,
  field: 1,
  contrast: 4,
  cosine: 0.9,
  fill: 1,
  speed: 1,
  seconds: 8,
  heardSeconds: 10,
};

describe('confidenceOf', () => {
  it('is high for a clear match and low for what chance reaches', () => {
    expect(confidenceOf(CLEAR, DEFAULTS)).toBeGreaterThan(0.9);
    expect(confidenceOf({ ...CLEAR, score: 2 }, DEFAULTS)).toBeLessThan(0.05);
  });

  it('falls when other references match nearly as well at the same place', () => {
    const crowded = { ...CLEAR, field: 30 };

    expect(confidenceOf(crowded, DEFAULTS)).toBeLessThan(confidenceOf(CLEAR, DEFAULTS));
  });

  it('is below the threshold for a held note, which stands out nowhere', () => {
    const held = { ...CLEAR, contrast: 0.1 };

    expect(confidenceOf(held, DEFAULTS)).toBeLessThan(DEFAULTS.threshold);
  });

  it('asks for more evidence in a longer upload, up to a point', () => {
    const inSeconds = (heardSeconds: number) => confidenceOf({ ...CLEAR, score: 10, heardSeconds }, DEFAULTS);

    expect(inSeconds(60)).toBeLessThan(inSeconds(10));
    expect(inSeconds(36_000)).toBe(inSeconds(3600));
  });
});

describe('calibrationOf', () => {
  it('reads what a model brings and fills in the rest', () => {
    const calibration = calibrationOf({ calibration: { threshold: 0.7 } });

    expect(calibration).toEqual({ ...DEFAULTS, threshold: 0.7 });
  });

  it.each([
    { threshold: 2 },
    { evidence: { at: [1, 0], nats: [0, 1] } },
    { evidence: { at: [0, 1, 2], nats: [0, 1] } },
    { acceptance: { intercept: 0, weights: { luck: 1 } } },
  ])('refuses %j', (calibration) => {
    expect(() => calibrationOf({ calibration })).toThrow();
  });
});
