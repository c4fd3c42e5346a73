import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { DeleteObjectCommand, PutObjectCommand, type S3Client } from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import { ObjectNotFoundError, RefrainError } from '../../core/errors.ts';
import type { ObjectVersion } from '../../core/scan.ts';
import { S3ObjectStore } from './object-store.ts';

/** Puts files of this machine into a bucket, under keys that name their content. */
export class S3Uploads {
  readonly #client: S3Client;
  readonly #bucket: string;

  constructor(client: S3Client, bucket: string) {
    this.#client = client;
    this.#bucket = bucket;
  }

  /** The object under this key, if there is one. */
  async find(key: string): Promise<ObjectVersion | undefined> {
    const objects = new S3ObjectStore(this.#client, { folder: '', maxBytes: 0 });
    return objects.describe({ bucket: this.#bucket, key }).catch((error) => {
      if (error instanceof ObjectNotFoundError) return undefined;
      throw error;
    });
  }

  /**
   * Uploads a file of any size, in parts where it is large.
   * @throws RefrainError (FILE_CHANGED) when it is not the same before and after; then no object is left
   */
  async put(key: string, path: string, signal?: AbortSignal): Promise<ObjectVersion> {
    const before = await stat(path);
    const upload = new Upload({
      client: this.#client,
      params: { Bucket: this.#bucket, Key: key, Body: createReadStream(path) },
    });
    const abort = () => void upload.abort();
    signal?.addEventListener('abort', abort);
    try {
      signal?.throwIfAborted();
      const { VersionId, ETag } = await upload.done();
      const after = await stat(path);
      if (after.size !== before.size || after.mtimeMs !== before.mtimeMs) {
        await this.#client.send(new DeleteObjectCommand({ Bucket: this.#bucket, Key: key, VersionId }));
        throw new RefrainError(
          'FILE_CHANGED',
          `${path} changed while it was uploaded; try again when it is complete`,
        );
      }
      return {
        bucket: this.#bucket,
        key,
        ...(VersionId && { versionId: VersionId }),
        etag: ETag!.replaceAll('"', ''),
        size: before.size,
      };
    } finally {
      signal?.removeEventListener('abort', abort);
    }
  }

  async putText(key: string, text: string): Promise<void> {
    await this.#client.send(new PutObjectCommand({ Bucket: this.#bucket, Key: key, Body: text }));
  }
}
