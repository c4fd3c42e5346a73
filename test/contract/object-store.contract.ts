import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { ObjectNotFoundError } from '../../functions/core/errors.ts';
import type { ObjectVersion } from '../../functions/core/scan.ts';
import type { ObjectStore } from '../../functions/ports/object-store.ts';
import { AWKWARD_NAMES } from './fixtures.ts';

/** A store with one empty bucket without versions, and a way to fill it. */
export interface ObjectStoreHarness {
  store: ObjectStore;
  bucket: string;
  put(key: string, content: Uint8Array): Promise<void>;
  delete(key: string): Promise<void>;
}

/** What every object store must do. @param makeHarness called once per test */
export function describeObjectStoreContract(
  name: string,
  makeHarness: () => Promise<ObjectStoreHarness>,
): void {
  describe(`${name} as an object store`, () => {
    const bytes = (text: string) => new TextEncoder().encode(text);
    const read = (path: string) => readFile(path, 'utf8');

    const putSong = async (content = 'content') => {
      const harness = await makeHarness();
      await harness.put('song.mp3', bytes(content));
      const song = await harness.store.describe({ bucket: harness.bucket, key: 'song.mp3' });
      return { ...harness, song };
    };

    it('describes an object with its size and a name for its version', async () => {
      const { store, bucket, song } = await putSong('content');

      expect(song).toMatchObject({ bucket, key: 'song.mp3', size: 7 });
      expect(song.etag).not.toBe('');
      expect(await store.describe(song)).toEqual(song);
    });

    it('gives a file with exactly the content, and what was made of it', async () => {
      const { store, song } = await putSong('content');

      const content = await store.withFile(song, read);

      expect(content).toBe('content');
    });

    it('gives the content under any name', async () => {
      const { store, bucket, put } = await makeHarness();
      const keys = [
        'folder/deep/song.mp3',
        ...AWKWARD_NAMES,
        'no extension',
        '.hidden',
        'dots..inside',
        '...',
      ];
      for (const key of keys) await put(key, bytes(`content of ${key}`));

      for (const key of keys) {
        const object = await store.describe({ bucket, key });
        expect(await store.withFile(object, read)).toBe(`content of ${key}`);
      }
    });

    it('gives an empty file and a large one', async () => {
      const { store, bucket, put } = await makeHarness();
      const large = Uint8Array.from({ length: 3_000_001 }, (_, i) => (i * 7) % 256);
      await put('empty', new Uint8Array(0));
      await put('large', large);

      expect(await store.describe({ bucket, key: 'empty' })).toMatchObject({ size: 0 });
      expect(await store.withFile({ bucket, key: 'empty' }, read)).toBe('');
      const content = await store.withFile({ bucket, key: 'large' }, (path) => readFile(path));
      expect(Buffer.compare(content, large)).toBe(0);
    });

    it.each([
      ['was never there', 'other.mp3'],
      ['only begins the same', 'song'],
      ['differs in case', 'SONG.mp3'],
      ['looks like a folder', 'song.mp3/'],
      ['leads out of the bucket', '../song.mp3'],
      ['leads out of the bucket by a detour', 'a/../../song.mp3'],
      ['is another spelling of a path', './song.mp3'],
      ['holds a NUL', 'song.mp3\0'],
    ])('says that a key that %s does not exist', async (_, key) => {
      const { store, bucket } = await putSong();

      await expect(store.describe({ bucket, key })).rejects.toThrow(ObjectNotFoundError);
      await expect(store.withFile({ bucket, key }, read)).rejects.toThrow(ObjectNotFoundError);
    });

    it('says that nothing exists in a bucket that does not exist', async () => {
      const { store } = await putSong();

      const elsewhere = { bucket: 'no-such-bucket', key: 'song.mp3' };
      await expect(store.describe(elsewhere)).rejects.toThrow(ObjectNotFoundError);
      await expect(store.withFile(elsewhere, read)).rejects.toThrow(ObjectNotFoundError);
    });

    it('says that a deleted object does not exist any more', async () => {
      const { store, song, delete: remove } = await putSong();

      await remove('song.mp3');

      await expect(store.describe({ bucket: song.bucket, key: song.key })).rejects.toThrow(
        ObjectNotFoundError,
      );
      await expect(store.withFile(song, read)).rejects.toThrow(ObjectNotFoundError);
    });

    it('says that a version that was replaced does not exist any more', async () => {
      const { store, song, put } = await putSong('first content');

      await put('song.mp3', bytes('other content'));

      await expect(store.withFile(song, read)).rejects.toThrow(ObjectNotFoundError);
      const now = await store.describe({ bucket: song.bucket, key: song.key });
      expect(now.etag).not.toBe(song.etag);
      expect(await store.withFile(now, read)).toBe('other content');
    });

    it('says that a version that never was does not exist', async () => {
      const { store, song } = await putSong();
      const never: ObjectVersion = {
        bucket: song.bucket,
        key: song.key,
        etag: '00000000000000000000000000000000',
      };

      await expect(store.withFile(never, read)).rejects.toThrow(ObjectNotFoundError);
    });

    it('passes on what goes wrong in the use of the file', async () => {
      const { store, song } = await putSong();

      const use = store.withFile(song, async () => {
        throw new Error('not audio');
      });

      await expect(use).rejects.toThrow('not audio');
    });

    it('serves several readers at the same time', async () => {
      const { store, song } = await putSong('content');

      const contents = await Promise.all(Array.from({ length: 5 }, () => store.withFile(song, read)));

      expect(contents).toEqual(Array(5).fill('content'));
    });

    it('gives a file that exists while it is used', async () => {
      const { store, song } = await putSong();

      const existed = await store.withFile(song, async (path) => existsSync(path));

      expect(existed).toBe(true);
    });
  });
}
