import { z } from 'zod';

/** One index of the catalogue. */
export const IndexState = z.object({
  index: z.string(),
  segments: z.int().nonnegative(),
  references: z.int().nonnegative(),
  /** On disk, replicas included. */
  bytes: z.int().nonnegative(),
  generation: z.int().nonnegative(),
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
]);
export type CatalogueOperation = z.infer<typeof CatalogueOperation>;
