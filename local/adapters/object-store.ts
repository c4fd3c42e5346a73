import { open, realpath, stat } from 'node:fs/promises';
import { isAbsolute, join, posix, sep } from 'node:path';
import { ObjectNotFoundError } from '../../functions/core/errors.ts';
import type { ObjectVersion } from '../../functions/core/scan.ts';
import type { ObjectStore } from '../../functions/ports/object-store.ts';
import { StoreError } from '../store/errors.ts';

/** The bucket whose keys are absolute paths of this machine, so that scanning a file copies nothing. */
export const FILES_BUCKET = 'files';

/**
 * Files as objects: each bucket is a folder, its keys are paths in it with `/`, and nothing outside of it is ever read.
 *
 * The etag is made of size, modification time (ns) and inode. Hashing the content would name the same bytes alike
 * after a copy, but reads every file twice: ten seconds and more for the video files that uploads often are. What the
 * etag is for here is to notice that a file was written or replaced between the event and the scan, and it does.
 * There are no older versions: a `versionId` is never found.
 */
export class LocalObjectStore implements ObjectStore {
  readonly #folders: ReadonlyMap<string, string>;

  /** @param folders bucket name -> folder */
  constructor(folders: Readonly<Record<string, string>> = {}) {
    this.#folders = new Map(Object.entries(folders));
  }

  async describe(object: ObjectVersion): Promise<ObjectVersion & { etag: string; size: number }> {
    const { etag, size } = await this.#find(object);
    return { ...object, etag, size };
  }

  async withFile<T>(object: ObjectVersion, use: (path: string) => Promise<T>): Promise<T> {
    const before = await this.#find(object);
    let result: T;
    try {
      result = await use(before.path);
    } catch (error) {
      // A fault of the reading is no news when the file went away under it.
      await this.#expectUnchanged(object, before.etag, error);
      throw error;
    }
    await this.#expectUnchanged(object, before.etag);
    return result;
  }

  async #expectUnchanged(object: ObjectVersion, etag: string, cause?: unknown): Promise<void> {
    const now = await this.#find({ bucket: object.bucket, key: object.key });
    if (now.etag !== etag) throw new ObjectNotFoundError(`This version of ${name(object)}`, { cause });
  }

  async #find(object: ObjectVersion): Promise<{ path: string; etag: string; size: number }> {
    try {
      const path = await this.#pathOf(object);
      const stats = await stat(path, { bigint: true });
      if (!stats.isFile()) throw new ObjectNotFoundError(`A file at ${name(object)}`);
      await (await open(path)).close();
      const etag = `${stats.size.toString(16)}-${stats.mtimeNs.toString(16)}-${stats.ino.toString(16)}`;
      if (object.versionId !== undefined || (object.etag !== undefined && object.etag !== etag)) {
        throw new ObjectNotFoundError(`This version of ${name(object)}`);
      }
      return { path, etag, size: Number(stats.size) };
    } catch (error) {
      throw translate(error, object);
    }
  }

  async #pathOf(object: ObjectVersion): Promise<string> {
    if (object.bucket === FILES_BUCKET && !this.#folders.has(FILES_BUCKET)) {
      if (!isAbsolute(object.key)) throw new ObjectNotFoundError(`An absolute path ${name(object)}`);
      return object.key;
    }
    const folder = this.#folders.get(object.bucket);
    if (folder === undefined) throw new ObjectNotFoundError(`The bucket of ${name(object)}`);
    // Keys are names, not paths: `a//b` and `./a` are not other ways to say `a/b` and `a`, and `..` leads nowhere.
    const { key } = object;
    if (
      key.startsWith('/') ||
      key.startsWith('../') ||
      posix.normalize(key) !== key ||
      (sep === '\\' && key.includes(sep))
    ) {
      throw new ObjectNotFoundError(name(object));
    }
    const root = await realpath(folder);
    const path = await realpath(join(root, key));
    if (!path.startsWith(root.endsWith(sep) ? root : root + sep)) {
      throw new ObjectNotFoundError(`${name(object)} (it is a link that leads out of the bucket)`);
    }
    return path;
  }
}

/** Quoted, so that line breaks and the like in keys stay visible. */
const name = ({ bucket, key }: ObjectVersion) =>
  bucket === FILES_BUCKET
    ? JSON.stringify(key)
    : `${JSON.stringify(key)} in bucket ${JSON.stringify(bucket)}`;

function translate(error: unknown, object: ObjectVersion): unknown {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  switch (code) {
    case 'ENOENT':
    case 'ENOTDIR':
    case 'ENAMETOOLONG':
    case 'ELOOP':
    case 'ERR_INVALID_ARG_VALUE': // a NUL in the key
      return new ObjectNotFoundError(name(object), { cause: error });
    case 'EACCES':
    case 'EPERM':
      return new StoreError('OBJECT_UNREADABLE', `${name(object)} may not be read: permission denied`, {
        cause: error,
      });
    default:
      return error;
  }
}
