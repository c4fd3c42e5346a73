import type { CatalogueState } from '../core/catalogue-state.ts';
import type { Catalogue } from './catalogue.ts';

/** Looks after the indexes of the catalogue, which to everybody else is one. */
export interface CatalogueUpkeep {
  state(): Promise<CatalogueState>;

  /** Removes every segment of a reference, wherever there is one; resolves to how many the live index had. */
  remove(referenceId: string): Promise<number>;

  /**
   * Begins to merge the graphs of the live index into as few as its size allows, because each query searches all of them.
   * It may take hours, and goes on by itself; `state` says whether it does.
   * @returns whether it began: not when it is going on already, nothing is there to merge, or the index is being made anew
   */
  merge(): Promise<boolean>;
}

/** Not every catalogue can be made anew in place. */
export const canRebuild = (upkeep: CatalogueUpkeep): upkeep is CatalogueUpkeep & CatalogueRebuild =>
  'takeOver' in upkeep;

/**
 * Makes a new index while the live one is searched and written to as always, and lets it take over when it is complete.
 * All that it remembers lies in the indexes, so that anybody can go on with what another began.
 */
export interface CatalogueRebuild {
  /** Whether the live index holds vectors in the way that is deployed; one that does not has to be made anew. */
  fits(): Promise<boolean>;

  /** Makes the index, or goes on with one that was begun. */
  begin(): Promise<void>;

  /** The index that is being made, for writing; `undefined` when none is. */
  next(): Promise<Pick<Catalogue, 'add' | 'remove'> | undefined>;

  /** How many segments each reference has in one of the two; empty where that one is not there. */
  counts(of: 'live' | 'next'): Promise<Map<string, number>>;

  /**
   * Copies a reference from the live index, in place of what the new one has of it.
   * @param isNew whether the new one has nothing of it: removing nothing takes longer than copying
   */
  copy(referenceId: string, isNew?: boolean): Promise<void>;

  /** Copies again whatever was written to the live index since the new one was begun, or since the last time. */
  catchUp(): Promise<void>;

  /**
   * Merges the index that is being made before anybody searches it: begins to, once, and from then on resolves to
   * whether that is done.
   */
  mergeNext(): Promise<boolean>;

  /**
   * Closes the live index for writing, catches up, and when `isComplete` then holds, lets the new one take its place in
   * one step. Otherwise everything is as before, and it resolves to `false`.
   */
  takeOver(isComplete: () => Promise<boolean>): Promise<boolean>;
}
