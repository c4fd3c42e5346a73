import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { createServer, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DeleteObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3';
import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest';
import { createAwsClients } from '../../functions/adapters/aws/clients.ts';
import { S3ObjectStore } from '../../functions/adapters/aws/object-store.ts';
import { ObjectNotFoundError, RejectedAudioError } from '../../functions/core/errors.ts';
import { awsClients, createBucket } from './support/aws.ts';

describe('S3ObjectStore', () => {
  const clients = awsClients();
  let folder: string;
  let store: S3ObjectStore;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'refrain-test-'));
    store = new S3ObjectStore(clients.s3, { folder, maxBytes: 1_000_000 });
  });
  afterEach(() => rm(folder, { recursive: true }));

  const put = async (Bucket: string, Key: string, Body: string | Uint8Array) => {
    const { VersionId, ETag } = await clients.s3.send(new PutObjectCommand({ Bucket, Key, Body }));
    return {
      bucket: Bucket,
      key: Key,
      ...(VersionId && { versionId: VersionId }),
      etag: ETag!.replaceAll('"', ''),
    };
  };
  const read = (path: string) => readFile(path, 'utf8');

  it('reads the version that was named, though another one has been uploaded since', async () => {
    const bucket = await createBucket(clients);
    const first = await put(bucket, 'a song+1 %.mp3', 'first');
    await put(bucket, 'a song+1 %.mp3', 'second');

    const content = await store.withFile(first, read);

    expect(content).toBe('first');
  });

  it('describes the newest version when none is named', async () => {
    const bucket = await createBucket(clients);
    await put(bucket, 'song', 'first');
    const second = await put(bucket, 'song', 'second');

    const described = await store.describe({ bucket, key: 'song' });

    expect(described).toEqual({ ...second, size: 6 });
  });

  it('refuses another content under the same key in a bucket without versions', async () => {
    const bucket = await createBucket(clients, { versioned: false });
    const { versionId: _, ...first } = await put(bucket, 'song', 'first');
    await put(bucket, 'song', 'second');

    const reading = store.withFile(first, read);

    await expect(reading).rejects.toThrow(ObjectNotFoundError);
  });

  it.each([
    ['a key that was never there', { key: 'nothing' }],
    ['a bucket that does not exist', { bucket: 'no-such-bucket-here', key: 'song' }],
    ['a version that does not exist', { key: 'song', versionId: '3sL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY' }],
  ])('says that %s does not exist', async (_, object) => {
    const bucket = await createBucket(clients);
    await put(bucket, 'song', 'content');

    await expect(store.withFile({ bucket, ...object }, read)).rejects.toThrow(ObjectNotFoundError);
    await expect(store.describe({ bucket, ...object })).rejects.toThrow(ObjectNotFoundError);
  });

  it('says that a deleted object does not exist, and still reads the version before', async () => {
    const bucket = await createBucket(clients);
    const song = await put(bucket, 'song', 'content');
    await clients.s3.send(new DeleteObjectCommand({ Bucket: bucket, Key: 'song' }));

    await expect(store.describe({ bucket, key: 'song' })).rejects.toThrow(ObjectNotFoundError);
    expect(await store.withFile(song, read)).toBe('content');
  });

  it('refuses an object larger than the disk allows, with a reason for the uploader', async () => {
    const bucket = await createBucket(clients);
    const song = await put(bucket, 'song', randomBytes(1_000_001));

    const reading = store.withFile(song, read);

    await expect(reading).rejects.toThrow(RejectedAudioError);
    await expect(reading).rejects.toMatchObject({ code: 'TOO_LARGE' });
  });

  it('leaves nothing on the disk, also when the file could not be used', async () => {
    const bucket = await createBucket(clients);
    const song = await put(bucket, 'song', 'content');

    await store.withFile(song, read);
    await store
      .withFile(song, () => {
        throw new Error('broken file');
      })
      .catch(() => {});

    expect(await readdir(folder)).toEqual([]);
  });

  it('reads an empty object', async () => {
    const bucket = await createBucket(clients);

    const content = await store.withFile(await put(bucket, 'empty', new Uint8Array()), read);

    expect(content).toBe('');
  });

  it('goes on where a connection broke off', async () => {
    const bucket = await createBucket(clients, { versioned: false });
    const content = randomBytes(900_000);
    const { versionId: _, ...song } = await put(bucket, 'song', content);
    await using flaky = await flakyServer(inject('awsUrl'), { bytes: 300_000 });

    const fetched = await flakyStore(flaky.url).withFile(song, (path) => readFile(path));

    expect(fetched.equals(content)).toBe(true);
    expect(flaky.ranges.length).toBeGreaterThanOrEqual(3);
    expect(flaky.ranges.slice(1).every((range) => /^bytes=[1-9]\d*-$/.test(range ?? ''))).toBe(true);
  });

  it('starts over where the server ignores ranges', async () => {
    // ministack does so for versions.
    const bucket = await createBucket(clients);
    const content = randomBytes(900_000);
    const song = await put(bucket, 'song', content);
    await using flaky = await flakyServer(inject('awsUrl'), { bytes: 300_000, times: 1 });

    const fetched = await flakyStore(flaky.url).withFile(song, (path) => readFile(path));

    expect(fetched.equals(content)).toBe(true);
  });

  const flakyStore = (endpoint: string) =>
    new S3ObjectStore(createAwsClients({ region: 'us-east-1', endpoint }).s3, {
      folder,
      maxBytes: 1_000_000,
    });
});

/** Passes requests on to the real server, and hangs up after so many bytes of its first answers. */
async function flakyServer(target: string, { bytes, times = Infinity }: { bytes: number; times?: number }) {
  const ranges: (string | undefined)[] = [];
  const server = createServer((incoming, outgoing) => {
    ranges.push(incoming.headers.range);
    const options = { method: incoming.method!, headers: incoming.headers };
    const onward = request(target + incoming.url, options, (answer) => {
      outgoing.writeHead(answer.statusCode!, answer.headers);
      let passed = 0;
      answer.on('data', (chunk: Buffer) => {
        passed += chunk.length;
        if (passed > bytes && ranges.length <= times) outgoing.write(chunk, () => outgoing.destroy());
        else outgoing.write(chunk);
      });
      answer.on('end', () => outgoing.end());
    });
    incoming.pipe(onward);
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as { port: number }).port}`,
    ranges,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
