import { z } from 'zod';

/** One stretch of the upload that is one stretch of the reference. */
export const MatchSpan = z.object({
  uploadStartMs: z.int().nonnegative(),
  uploadEndMs: z.int().nonnegative(),
  referenceStartMs: z.int().nonnegative(),
  referenceEndMs: z.int().nonnegative(),
  /** Seconds of the reference that pass in one second of the upload: 1.03 = sped up by 3 %. */
  speed: z.number().positive(),
  /** Calibrated probability that the span is a true match, 0..1. */
  confidence: z.number().min(0).max(1),
});
export type MatchSpan = z.infer<typeof MatchSpan>;

export const Action = z.enum(['block', 'review', 'monetise', 'track', 'allow']);
export type Action = z.infer<typeof Action>;

/** Everything one scan found of one reference. */
export const Detection = z.object({
  detectionId: z.string(),
  referenceId: z.string(),
  confidence: z.number().min(0).max(1),
  /** Share of the upload and of the reference that the spans cover, 0..1. */
  coverage: z.object({ upload: z.number().min(0).max(1), reference: z.number().min(0).max(1) }),
  matchedMs: z.int().nonnegative(),
  spans: z.array(MatchSpan).min(1),
  action: Action,
});
export type Detection = z.infer<typeof Detection>;
