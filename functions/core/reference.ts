import { z } from 'zod';
import { Policy } from './policy.ts';
import { ObjectVersion, Reason } from './scan.ts';
import { TimeSpan } from './span.ts';

/** ISRC, ISO 3901: two letters, three alphanumerics, two digits of year, five digits; stored without hyphens. */
export const Isrc = z
  .string()
  .transform((text) => text.replaceAll(/[\s-]/g, '').toUpperCase())
  .pipe(z.string().regex(/^[A-Z]{2}[A-Z0-9]{3}\d{7}$/, 'an ISRC looks like GB-AYE-68-00123'));

/** A stretch of a recording that is not searched for: a sample, or what is in the public domain. */
export const ExcludedSpan = TimeSpan.refine(({ startMs, endMs }) => startMs < endMs, {
  error: 'a stretch must end after it begins (startMs < endMs)',
});

/** What a rights-holder says of a recording. What is left out stays as it is, or as the file's tags have it. */
export const ReferenceMetadata = z.object({
  title: z.string().optional(),
  artist: z.string().optional(),
  album: z.string().optional(),
  owner: z.string().optional(),
  isrc: Isrc.optional(),
  policy: Policy.optional(),
  /** All excluded stretches, in place of those that were there. */
  excluded: z.array(ExcludedSpan).optional(),
});
export type ReferenceMetadata = z.infer<typeof ReferenceMetadata>;

/**
 * A registered recording.
 * - `registering`: segments are being written; not searchable by promise.
 * - `active`: searchable. `disabled`: kept, but its matches are dropped. `refused`: not admitted, with reasons.
 */
export const Reference = ReferenceMetadata.extend({
  referenceId: z.string().min(1).max(200),
  state: z.enum(['registering', 'active', 'disabled', 'refused']),
  reasons: z.array(Reason).default([]),
  source: ObjectVersion,
  /** SHA-256 or etag of the content: the same file is registered once. */
  contentId: z.string(),
  model: z.object({ id: z.string(), sha256: z.string() }),
  durationMs: z.number().nonnegative(),
  segments: z.int().nonnegative(),
  excluded: z.array(TimeSpan).default([]),
  registeredAt: z.iso.datetime(),
});
export type Reference = z.infer<typeof Reference>;
