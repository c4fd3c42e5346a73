import { z } from 'zod';

/** What is known of a possible match; every number grows with the odds that it is one, unless said otherwise. */
export interface Features {
  /** Evidence summed along the line, nats (see `alignment/similarity.ts`). */
  score: number;
  /** Score that the third best other reference reaches at the same place: what chance gives here. Speaks against. */
  field: number;
  /** Evidence on the line, per segment, above that on parallel lines of the same reference, in deviations. */
  contrast: number;
  /** Mean cosine along the line. */
  cosine: number;
  /** By how much that is above what each segment's nearest strangers in the catalogue reach, mean. */
  lead: number;
  /** The same, summed over the segments on which the line is ahead of them. */
  ahead: number;
  /** Seconds of the upload that lie on the line. */
  seconds: number;
  /** Share that lies on the line of ten seconds, or of all that was heard if that is less. */
  explained: number;
  /** Seconds of the reference that pass in one second of the upload. */
  speed: number;
  /** Cuts between the pieces of the match. Speak against: of a style, pieces can be put together to anything. */
  links: number;
  /** How much the waveforms agree (see `alignment/waveform.ts`), where they were compared. */
  coherence?: number;
}

/** The terms of the logistic. */
export const TERMS = [
  'logScore',
  'logField',
  'prominence',
  'cosine',
  'lead',
  'logAhead',
  'explained',
  'speedChange',
  'logLinks',
] as const;
export type Term = (typeof TERMS)[number];

const finite = z.number();

/**
 * How cosines become evidence, and evidence becomes a probability. Fitted for one model by `bench:calibrate` and kept
 * in its `model.json`; the defaults hold for any model whose chance cosines are roughly normal, and are cautious.
 */
export const Calibration = z.object({
  /** Mean and deviation of the cosine of unrelated segments. Without it, each upload measures them for itself. */
  chance: z.object({ mean: finite, deviation: finite.positive() }).optional(),
  /** Evidence in nats, linear between points `at` so many deviations above chance. */
  evidence: z
    .object({ at: z.array(finite).min(2), nats: z.array(finite).min(2) })
    .refine(({ at, nats }) => at.length === nats.length && at.every((x, i) => i === 0 || x > at[i - 1]!), {
      error: 'as many `nats` as points `at`, and those ascending',
    })
    .default({ at: [0, 1, 2, 3, 4, 5, 6], nats: [-0.7, -0.5, -0.1, 0.7, 1.5, 2.3, 3] }),
  /** The logistic: log-odds = intercept + sum of weight * term. */
  acceptance: z
    .object({ intercept: finite, weights: z.partialRecord(z.enum(TERMS), finite) })
    .default({ intercept: -18, weights: { logScore: 5, logField: -2, prominence: 1.2 } }),
  /** A match is reported at this confidence or above. */
  threshold: z.number().min(0).max(1).default(0.5),
  /** What is below the threshold, but not below this, is heard again at other speeds. */
  doubt: z.number().min(0).max(1).default(0.1),
});
export type Calibration = z.infer<typeof Calibration>;

/** The calibration that came with a model. @throws ZodError when it is malformed */
export const calibrationOf = (model: { calibration: Record<string, unknown> }): Calibration =>
  Calibration.parse(model.calibration);

const MOST_PROMINENT = 12;
/** A segment of a clear match is ahead by some tenths: about one, so scaled. */
const AHEAD_SCALE = 10;

/** What the logistic sees: features on scales on which they add up. */
export function termsOf(features: Features): Record<Term, number> {
  const { score, field, contrast, cosine, lead, ahead, seconds, explained, speed, links } = features;
  return {
    logScore: Math.log1p(Math.max(0, score)),
    logField: Math.log1p(Math.max(0, field)),
    // The contrast over its standard error: a drum loop stands out of its surroundings by little however long it
    // lasts, and chance does so for a moment only. Beyond some point, more says nothing new.
    prominence: Math.min(MOST_PROMINENT, contrast * Math.sqrt(Math.max(2, seconds) / 3)),
    cosine,
    // What resembles a whole style resembles many references alike; a true match is ahead of all others.
    lead,
    logAhead: Math.log1p(AHEAD_SCALE * Math.max(0, ahead)),
    // Chance picks a few segments out of what was heard, a true match goes on.
    explained,
    // Chance picks any of the speeds there are, uploaders mostly the original one.
    speedChange: Math.abs(Math.log(speed)),
    // Chance picks each piece out of many places.
    logLinks: Math.log1p(links),
  };
}

/**
 * What waveforms that were compared say by themselves: log-odds = intercept + slope * log(coherence). It depends on no model.
 * `bench:calibrate` prints which coherence other music reaches, and which the same.
 */
export const WAVEFORM = { intercept: -26, slope: 10 };

/** Log-odds beyond which nothing becomes surer: nothing is certain, and a threshold of 1 lets nothing through. */
const SUREST = 30;

/** The probability, 0..1, that a possible match is a true one: as the vectors have it, or the waveforms if they are surer. */
export function confidenceOf(features: Features, { acceptance }: Calibration): number {
  const { coherence = 0 } = features;
  const byVectors = logOddsOf(termsOf(features), acceptance);
  const byWaveform = WAVEFORM.intercept + WAVEFORM.slope * Math.log(coherence);
  return 1 / (1 + Math.exp(-Math.min(SUREST, Math.max(byVectors, byWaveform))));
}

export function logOddsOf(
  terms: Record<Term, number>,
  { intercept, weights }: Calibration['acceptance'],
): number {
  return TERMS.reduce((sum, term) => sum + (weights[term] ?? 0) * terms[term], intercept);
}
