import { describe, expect, it } from 'vitest';
import { Calibration, calibrationOf, confidenceOf, type Features } from '../../functions/core/confidence.ts';
import { readManifest } from '../../functions/embed/model-folder.ts';

const DEFAULTS = Calibration.parse({});
const CLEAR: Features = {
  score: 40,
  field: 1,
  contrast: 4,
  cosine: 0.9,
  lead: 0.3,
  ahead: 5,
  seconds: 10,
  explained: 1,
  speed: 1,
  links: 0,
};

describe('confidenceOf', () => {
  it('is high for a clear match and low for what chance reaches', () => {
    expect(confidenceOf(CLEAR, DEFAULTS)).toBeGreaterThan(0.9);
    expect(confidenceOf({ ...CLEAR, score: 2 }, DEFAULTS)).toBeLessThan(0.05);
  });

  it('is never 1, however much speaks for a match', () => {
    expect(confidenceOf({ ...CLEAR, coherence: 1e6 }, DEFAULTS)).toBeLessThan(1);
  });

  it('falls when other references match nearly as well at the same place', () => {
    const crowded = { ...CLEAR, field: 30 };

    expect(confidenceOf(crowded, DEFAULTS)).toBeLessThan(confidenceOf(CLEAR, DEFAULTS));
  });

  it('is below the threshold for a held note, which stands out nowhere', () => {
    const held = { ...CLEAR, contrast: 0.1 };

    expect(confidenceOf(held, DEFAULTS)).toBeLessThan(DEFAULTS.threshold);
  });

  it('falls when only a part of what was heard lies on the line', () => {
    const calibration = {
      ...DEFAULTS,
      acceptance: { intercept: -10, weights: { logScore: 2, explained: 4 } },
    };
    const partly = { ...CLEAR, explained: 0.3 };

    expect(confidenceOf(partly, calibration)).toBeLessThan(confidenceOf(CLEAR, calibration));
  });
});

describe('the lead over other music', () => {
  const calibration = {
    ...DEFAULTS,
    acceptance: { intercept: -10, weights: { cosine: 8, lead: 15, logAhead: 1 } },
  };

  it('tells a match from the like of a whole style, be it as similar', () => {
    const style = { ...CLEAR, lead: 0.02, ahead: 0.5 };

    expect(confidenceOf(style, calibration)).toBeLessThan(confidenceOf(CLEAR, calibration));
  });

  it('is never worth less than nothing', () => {
    const behind = { ...CLEAR, ahead: -3 };

    expect(confidenceOf(behind, calibration)).toBe(confidenceOf({ ...CLEAR, ahead: 0 }, calibration));
  });
});

describe('the default model', async () => {
  const calibration = calibrationOf(await readManifest('models/refrain-fp-1'));
  const sure = { score: 100, field: 0, cosine: 0.53, explained: 1, speed: 1 };

  it('does not believe a whole song of another one in the same style, put together of pieces', () => {
    // Measured: half a day of synthetic music, and another song of the same synthesiser (test/real/long-upload.test.ts).
    const patchwork = { ...sure, contrast: 0.9, lead: 0.037, ahead: 5.9, seconds: 44.5, links: 6 };

    expect(confidenceOf(patchwork, calibration)).toBeLessThan(calibration.threshold);
  });

  it('believes as many pieces that are ahead of all other music', () => {
    const jumpCuts = { ...sure, contrast: 2.5, lead: 0.25, ahead: 11, seconds: 20, links: 9 };

    expect(confidenceOf(jumpCuts, calibration)).toBeGreaterThan(calibration.threshold);
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
