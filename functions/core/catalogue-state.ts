import { z } from 'zod';

/** One index of the catalogue. */
export const IndexState = z.object({
  index: z.string(),
  segments: z.int().nonnegative(),
  references: z.int().nonnegative(),
  /** On disk, replicas included. Serverless does not say. */
  bytes: z.int().nonnegative().optional(),
  generation: z.int().nonnegative(),
  /**
   * What each query has to search, in all shards together: every write leaves a small one, until they are merged.
   * Serverless does not say.
   */
  graphs: z.int().nonnegative().optional(),
  /** Share of the segments that lie in other graphs than the large ones that merging makes. */
  unmerged: z.number().min(0).max(1),
  /** Whether it is being merged now. */
  merging: z.boolean(),
});
export type IndexState = z.infer<typeof IndexState>;

/** What there is of the catalogue of the model that is deployed. */
export const CatalogueState = z.object({
  model: z.object({ id: z.string(), sha256: z.string() }),
  /** The name that scans and registrations use; it stands for the live index. */
  alias: z.string(),
  /** What is searched; absent where nothing was registered yet, or where the index is lost. */
  live: IndexState.optional(),
  /** What is being built to take its place. */
  next: IndexState.optional(),
});
export type CatalogueState = z.infer<typeof CatalogueState>;

/**
 * What an operator may ask the register function for by invoking it. The catalogue lives in a private network: only the
 * functions reach it.
 */
export const CatalogueOperation = z.discriminatedUnion('operation', [
  z.object({ type: z.literal('refrain.catalogue.v1'), operation: z.literal('state') }),
  z.object({
    type: z.literal('refrain.catalogue.v1'),
    operation: z.literal('remove'),
    referenceId: z.string().min(1),
  }),
  z.object({
    type: z.literal('refrain.catalogue.v1'),
    operation: z.literal('reindex'),
    /** Whether to ask for what is missing. Once will do: requests that fail become dead letters. */
    ask: z.boolean(),
  }),
  z.object({ type: z.literal('refrain.catalogue.v1'), operation: z.literal('merge') }),
]);
export type CatalogueOperation = z.infer<typeof CatalogueOperation>;

/** How far the making of a new index is. */
export const ReindexProgress = z.discriminatedUnion('phase', [
  /** What the live index has goes over, vectors and all. */
  z.object({ phase: z.literal('copying'), copied: z.int().nonnegative(), of: z.int().nonnegative() }),
  /** What it does not have, or only of another model, is heard again. */
  z.object({
    phase: z.literal('filling'),
    missing: z.int().positive(),
    asked: z.int().nonnegative(),
    /** Some of those that are missing. */
    examples: z.array(z.string()),
  }),
  /** The new index has everything, and gets the few graphs that it is to be searched in. */
  z.object({ phase: z.literal('merging'), graphs: z.int().nonnegative() }),
  /** The new index is the live one, and the old one is gone. */
  z.object({ phase: z.literal('done'), live: IndexState }),
]);
export type ReindexProgress = z.infer<typeof ReindexProgress>;
