import { describe, expect, it } from 'vitest';
import type { ReferenceStore } from '../../functions/ports/stores.ts';
import { AWKWARD_NAMES, allPages, aReference, minute } from './fixtures.ts';

/**
 * What every reference store must do.
 * @param makeStore an empty store; called once per test
 */
export function describeReferenceStoreContract(name: string, makeStore: () => Promise<ReferenceStore>): void {
  describe(`${name} as a reference store`, () => {
    it('knows nothing at first', async () => {
      const store = await makeStore();

      expect(await store.get('song')).toBeUndefined();
      expect(await store.getMany(['song'])).toEqual(new Map());
      expect(await store.getMany([])).toEqual(new Map());
      expect(await store.findByContent('sha256:00')).toBeUndefined();
      expect(await store.list()).toEqual({ items: [] });
      expect(await store.ownerPolicy('label')).toBeUndefined();
    });

    it('gives back exactly what was put', async () => {
      const store = await makeStore();
      const song = aReference('song', {
        artist: 'Ann Éxample 🎤',
        isrc: 'GBAYE6800123',
        owner: 'label',
        policy: { rules: [{ when: [], action: 'block' }] },
        excluded: [{ startMs: 0, endMs: 1500.5 }],
        reasons: [{ code: 'X', message: 'line\nbreak' }],
      });

      await store.put(song);

      expect(await store.get('song')).toEqual(song);
    });

    it('replaces what is put again', async () => {
      const store = await makeStore();
      await store.put(aReference('song', { state: 'registering' }));

      await store.put(aReference('song', { state: 'active' }));

      expect((await store.get('song'))!.state).toBe('active');
      expect((await store.list()).items).toHaveLength(1);
    });

    it('gives many at once, those that exist, in any number', async () => {
      const store = await makeStore();
      const ids = Array.from({ length: 130 }, (_, i) => `song-${i}`);
      await Promise.all(ids.map((id) => store.put(aReference(id))));

      const found = await store.getMany([...ids, ids[0]!, 'unknown']);

      expect([...found.keys()].sort()).toEqual([...ids].sort());
      expect(found.get('song-129')).toEqual(aReference('song-129'));
    });

    it('finds a reference by its content until it is deleted', async () => {
      const store = await makeStore();
      await store.put(aReference('song', { contentId: 'sha256:ab' }));
      await store.put(aReference('other', { contentId: 'sha256:cd' }));

      expect((await store.findByContent('sha256:ab'))!.referenceId).toBe('song');

      await store.delete('song');

      expect(await store.findByContent('sha256:ab')).toBeUndefined();
      expect(await store.get('song')).toBeUndefined();
      expect((await store.list()).items.map((item) => item.referenceId)).toEqual(['other']);
    });

    it('finds the first of several references with the same content', async () => {
      const store = await makeStore();
      await store.put(aReference('second', { contentId: 'sha256:ab', registeredAt: minute(2) }));
      await store.put(aReference('first', { contentId: 'sha256:ab', registeredAt: minute(1) }));

      expect((await store.findByContent('sha256:ab'))!.referenceId).toBe('first');

      await store.delete('first');

      expect((await store.findByContent('sha256:ab'))!.referenceId).toBe('second');
    });

    it('does not find a reference by a content that it no longer has', async () => {
      const store = await makeStore();
      await store.put(aReference('song', { contentId: 'sha256:old' }));

      await store.put(aReference('song', { contentId: 'sha256:new' }));

      expect(await store.findByContent('sha256:old')).toBeUndefined();
      expect((await store.findByContent('sha256:new'))!.referenceId).toBe('song');
    });

    it('deletes what is not there without complaint', async () => {
      const store = await makeStore();

      await store.delete('song');
    });

    it('lists all of them in pages, newest first', async () => {
      const store = await makeStore();
      const ids = Array.from({ length: 25 }, (_, i) => `song-${i}`);
      await Promise.all(ids.map((id, i) => store.put(aReference(id, { registeredAt: minute(i) }))));

      const listed = await allPages(7, (page) => store.list(page));

      expect(listed.map((item) => item.referenceId)).toEqual(ids.toReversed());
    });

    it('lists each once, though all were registered at the same moment', async () => {
      const store = await makeStore();
      const ids = Array.from({ length: 12 }, (_, i) => `song-${i}`);
      await Promise.all(ids.map((id) => store.put(aReference(id))));

      const listed = await allPages(5, (page) => store.list(page));

      expect(listed.map((item) => item.referenceId).sort()).toEqual([...ids].sort());
    });

    it('refuses a cursor that is none', async () => {
      const store = await makeStore();
      await store.put(aReference('song'));

      await expect(store.list({ after: 'no cursor' })).rejects.toMatchObject({ code: 'BAD_CURSOR' });
    });

    it('takes ids, owners and titles of any script and sign', async () => {
      const store = await makeStore();
      for (const name of AWKWARD_NAMES) {
        await store.put(aReference(name, { title: name, owner: name }));
        await store.putOwnerPolicy(name, { rules: [{ when: [], action: 'track' }] });
      }

      const found = await store.getMany(AWKWARD_NAMES);

      expect([...found.keys()].sort()).toEqual([...AWKWARD_NAMES].sort());
      for (const name of AWKWARD_NAMES) {
        expect(await store.get(name)).toEqual(aReference(name, { title: name, owner: name }));
        expect(await store.ownerPolicy(name)).toBeDefined();
      }
    });

    it('keeps the last policy of an owner', async () => {
      const store = await makeStore();
      await store.putOwnerPolicy('label', { rules: [{ when: [], action: 'track' }] });

      await store.putOwnerPolicy('label', { rules: [{ when: [], action: 'block' }] });

      expect(await store.ownerPolicy('label')).toEqual({ rules: [{ when: [], action: 'block' }] });
      expect(await store.ownerPolicy('Label')).toBeUndefined();
    });
  });
}
