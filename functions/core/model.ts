import { z } from 'zod';

/**
 * What a model folder says of itself (`models/<id>/model.json`).
 *
 * `layout` tells how PCM enters the graph:
 * - `window`: `[batch, samples] -> [batch, segments, dimension]`; the graph slides over the window by itself and
 *   shares work between overlapping segments. `n` segments need exactly `(n - 1) * hop + segment` samples.
 * - `segments`: `[batch, segmentSamples] -> [batch, dimension]`; the caller cuts the segments.
 */
export const ModelManifest = z.object({
  id: z.string().regex(/^[a-z0-9][a-z0-9.-]{1,62}$/),
  family: z.string(),
  file: z.string().default('model.onnx'),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  bytes: z.int().positive(),
  licence: z.string(),
  sampleRate: z.int().min(4000).max(96_000),
  segmentSamples: z.int().positive(),
  hopSamples: z.int().positive(),
  dimension: z.int().min(16).max(4096),
  similarity: z.literal('cosine'),
  input: z.object({ name: z.string(), layout: z.enum(['window', 'segments']) }),
  output: z.object({ name: z.string() }),
  /** Segments whose RMS lies below this are neither indexed nor searched. */
  energyFloorDbfs: z.number().max(0),
  /** Written by `bench:calibrate`; read by `core/confidence.ts`. */
  calibration: z.record(z.string(), z.unknown()).default({}),
  provenance: z.record(z.string(), z.unknown()).default({}),
});
export type ModelManifest = z.infer<typeof ModelManifest>;
