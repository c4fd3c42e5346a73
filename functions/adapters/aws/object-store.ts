import { createWriteStream } from 'node:fs';
import { mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { GetObjectCommand, HeadObjectCommand, type S3Client, S3ServiceException } from '@aws-sdk/client-s3';
import { ObjectNotFoundError, RejectedAudioError } from '../../core/errors.ts';
import type { ObjectVersion } from '../../core/scan.ts';
import type { ObjectStore } from '../../ports/object-store.ts';
import { isNetworkError, type RetryPolicy, withRetries } from './retry.ts';

export interface S3ObjectStoreSettings {
  /** Where objects lie while they are used; created when it is missing. */
  folder: string;
  /** Larger objects are refused before a byte is fetched: the disk of a Lambda is bounded. */
  maxBytes: number;
}

/** A connection that breaks is taken up where it broke. */
const PATIENCE: RetryPolicy = { budgetMs: 60_000, baseMs: 100, capMs: 5000 };

/** Objects of S3, always of the version that the caller names. */
export class S3ObjectStore implements ObjectStore {
  readonly #client: S3Client;
  readonly #settings: S3ObjectStoreSettings;

  constructor(client: S3Client, settings: S3ObjectStoreSettings) {
    this.#client = client;
    this.#settings = settings;
  }

  async describe(object: ObjectVersion): Promise<ObjectVersion & { etag: string; size: number }> {
    const head = await this.#client
      .send(new HeadObjectCommand(address(object)))
      .catch((error) => throwTranslated(error, object));
    return {
      bucket: object.bucket,
      key: object.key,
      ...(head.VersionId && head.VersionId !== 'null' && { versionId: head.VersionId }),
      etag: unquoted(head.ETag!),
      size: head.ContentLength!,
    };
  }

  /** @throws RejectedAudioError (TOO_LARGE) when the object is larger than the disk allows */
  async withFile<T>(object: ObjectVersion, use: (path: string) => Promise<T>): Promise<T> {
    await mkdir(this.#settings.folder, { recursive: true });
    const folder = await mkdtemp(join(this.#settings.folder, 'object-'));
    try {
      const path = join(folder, 'object');
      await this.#fetch(object, path);
      return await use(path);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  async #fetch(object: ObjectVersion, path: string): Promise<void> {
    await writeFile(path, '');
    let { etag } = object;
    await withRetries(
      async () => {
        const { size: fetched } = await stat(path);
        const { Body, ETag, ContentLength, ContentRange } = await this.#client.send(
          new GetObjectCommand({
            ...address(object),
            // Without a version, the etag keeps a later upload out; with one, it keeps the parts together.
            ...(etag && { IfMatch: `"${etag}"` }),
            ...(fetched > 0 && { Range: `bytes=${fetched}-` }),
          }),
        );
        etag = unquoted(ETag!);
        const body = Body as Readable;
        // A server may ignore the range and send the whole.
        const start = ContentRange ? fetched : 0;
        const size = start + ContentLength!;
        if (size > this.#settings.maxBytes) {
          body.destroy();
          throw new RejectedAudioError(
            'TOO_LARGE',
            `the file has ${size} bytes; at most ${this.#settings.maxBytes} are accepted`,
          );
        }
        // At an explicit place: a write of the attempt before that is still under way then changes nothing.
        await pipeline(body, createWriteStream(path, { flags: 'r+', start }));
      },
      // Refusals were already retried by the SDK; what is left is a stream that broke.
      isNetworkError,
      PATIENCE,
    ).catch((error) => throwTranslated(error, object));
  }
}

const address = ({ bucket, key, versionId }: ObjectVersion) => ({
  Bucket: bucket,
  Key: key,
  ...(versionId && { VersionId: versionId }),
});

/** Events name etags bare, S3's headers quote them. */
const unquoted = (etag: string): string => etag.replaceAll('"', '');

/**
 * A key or version that is not there (404), a delete marker (405), or another content than the one named (412).
 * A role without s3:ListBucket is told 403 for a missing key, so roles that read a bucket may list it too.
 */
function throwTranslated(error: unknown, { bucket, key, versionId }: ObjectVersion): never {
  if (error instanceof S3ServiceException && [404, 405, 412].includes(error.$metadata.httpStatusCode ?? 0)) {
    const which = versionId ? ` (version ${versionId})` : '';
    throw new ObjectNotFoundError(`s3://${bucket}/${key}${which}`, { cause: error });
  }
  throw error;
}
