import type { CatalogueState } from '../core/catalogue-state.ts';

/** Looks after the indexes of the catalogue, which to everybody else is one. */
export interface CatalogueUpkeep {
  state(): Promise<CatalogueState>;

  /** Removes every segment of a reference, wherever there is one; resolves to how many the live index had. */
  remove(referenceId: string): Promise<number>;
}
