import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  mkdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ObjectNotFoundError } from '../../functions/core/errors.ts';
import { LocalObjectStore } from '../../local/adapters/object-store.ts';
import { AWKWARD_NAMES } from './fixtures.ts';
import { temporaryFolder } from './temporary.ts';

const read = (path: string) => readFile(path, 'utf8');

function files() {
  const folder = temporaryFolder();
  const bucket = join(folder, 'uploads');
  mkdirSync(bucket);
  writeFileSync(join(folder, 'secret.txt'), 'outside');
  writeFileSync(join(bucket, 'song.mp3'), 'inside');
  return { folder, bucket, store: new LocalObjectStore({ uploads: bucket }) };
}

describe('LocalObjectStore', () => {
  it('reads any file by its absolute path, in place', async () => {
    const { folder, store } = files();
    for (const name of AWKWARD_NAMES) {
      const key = join(folder, name.replaceAll('/', '_'));
      writeFileSync(key, name);

      const object = await store.describe({ bucket: 'files', key });

      expect(await store.withFile(object, async (path) => [path, await read(path)])).toEqual([key, name]);
    }
  });

  it.each(['song.mp3', './song.mp3', '../secret.txt', ''])(
    'does not take "%s" for an absolute path',
    async (key) => {
      const { store } = files();

      await expect(store.describe({ bucket: 'files', key })).rejects.toThrow(ObjectNotFoundError);
    },
  );

  it.each([
    '../secret.txt',
    'a/../../secret.txt',
    '/etc/passwd',
    'link-to-secret',
    'link-to-folder/secret.txt',
    '.',
    '..',
    '',
    'song.mp3/..',
    'a//song.mp3',
  ])('reads nothing outside of its bucket: %s', async (key) => {
    const { folder, bucket, store } = files();
    symlinkSync(join(folder, 'secret.txt'), join(bucket, 'link-to-secret'));
    symlinkSync(folder, join(bucket, 'link-to-folder'));
    mkdirSync(join(bucket, 'a'));

    await expect(store.withFile({ bucket: 'uploads', key }, read)).rejects.toThrow(ObjectNotFoundError);
  });

  it('follows links that stay in the bucket', async () => {
    const { bucket, store } = files();
    symlinkSync(join(bucket, 'song.mp3'), join(bucket, 'alias.mp3'));

    expect(await store.withFile({ bucket: 'uploads', key: 'alias.mp3' }, read)).toBe('inside');
  });

  it('is not led astray by a folder whose name begins like the bucket', async () => {
    const { folder, bucket, store } = files();
    mkdirSync(`${bucket}-private`);
    writeFileSync(join(`${bucket}-private`, 'song.mp3'), 'outside');
    symlinkSync(join(folder, 'uploads-private'), join(bucket, 'link'));

    await expect(store.withFile({ bucket: 'uploads', key: 'link/song.mp3' }, read)).rejects.toThrow(
      ObjectNotFoundError,
    );
  });

  it.skipIf(process.platform === 'win32')('does not open what is no file', async () => {
    const { bucket, store } = files();
    mkdirSync(join(bucket, 'folder.mp3'));
    // Opening this would wait for ever.
    execFileSync('mkfifo', [join(bucket, 'pipe.mp3')]);

    for (const key of ['folder.mp3', 'pipe.mp3']) {
      await expect(store.withFile({ bucket: 'uploads', key }, read)).rejects.toThrow(ObjectNotFoundError);
    }
  });

  it('knows no versions but the present one', async () => {
    const { store } = files();

    const versioned = { bucket: 'uploads', key: 'song.mp3', versionId: 'v1' };

    await expect(store.describe(versioned)).rejects.toThrow(ObjectNotFoundError);
  });

  it('notices a file that was replaced by one of the same size and time', async () => {
    const { bucket, store } = files();
    const path = join(bucket, 'song.mp3');
    const object = await store.describe({ bucket: 'uploads', key: 'song.mp3' });
    const { atime, mtime } = statSync(path);
    writeFileSync(join(bucket, 'new'), 'INSIDE');
    utimesSync(join(bucket, 'new'), atime, mtime);
    renameSync(join(bucket, 'new'), path);

    await expect(store.withFile(object, read)).rejects.toThrow(ObjectNotFoundError);
  });

  it.each([
    ['replaced', (path: string) => writeFileSync(path, 'other content')],
    ['deleted', (path: string) => rmSync(path)],
  ])('says so when the file is %s while it is used', async (_, change) => {
    const { bucket, store } = files();
    const object = await store.describe({ bucket: 'uploads', key: 'song.mp3' });

    const succeeding = store.withFile(object, async (path) => change(path));
    await expect(succeeding).rejects.toThrow(ObjectNotFoundError);

    writeFileSync(join(bucket, 'song.mp3'), 'again');
    const failing = store.withFile({ bucket: 'uploads', key: 'song.mp3' }, async (path) => {
      change(path);
      throw new Error('the decoder choked');
    });
    await expect(failing).rejects.toThrow(ObjectNotFoundError);
  });

  it.skipIf(process.platform === 'win32')('says which file may not be read', async () => {
    const { folder, bucket, store } = files();
    chmodSync(folder, 0o755);
    chmodSync(join(bucket, 'song.mp3'), 0o000);
    // Permissions do not stop the superuser, so act as nobody.
    const isRoot = process.getuid!() === 0;
    if (isRoot) process.seteuid!(65534);
    try {
      await expect(store.describe({ bucket: 'uploads', key: 'song.mp3' })).rejects.toMatchObject({
        code: 'OBJECT_UNREADABLE',
        message: expect.stringContaining('song.mp3'),
      });
    } finally {
      if (isRoot) process.seteuid!(0);
    }
  });
});
