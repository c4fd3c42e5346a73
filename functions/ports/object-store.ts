import type { ObjectVersion } from '../core/scan.ts';

/** Reads objects. The caller always names the version it was told of, so that a later upload cannot slip in. */
export interface ObjectStore {
  /**
   * What the store knows of the object now: fills in `versionId`/`etag` and `size`.
   * @throws ObjectNotFoundError
   */
  describe(object: ObjectVersion): Promise<ObjectVersion & { etag: string; size: number }>;

  /**
   * Calls `use` with the path of a readable local file that holds exactly this version; whatever was fetched for it
   * is removed afterwards.
   * @throws ObjectNotFoundError, also when the object was replaced by another version
   */
  withFile<T>(object: ObjectVersion, use: (path: string) => Promise<T>): Promise<T>;
}
