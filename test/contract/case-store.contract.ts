import { describe, expect, it } from 'vitest';
import { ConflictError } from '../../functions/core/errors.ts';
import type { CaseStore } from '../../functions/ports/stores.ts';
import { AWKWARD_NAMES, aCase, allPages, minute } from './fixtures.ts';

/**
 * What every case store must do.
 * @param makeStore an empty store; called once per test
 */
export function describeCaseStoreContract(name: string, makeStore: () => Promise<CaseStore>): void {
  describe(`${name} as a case store`, () => {
    it('knows nothing at first', async () => {
      const store = await makeStore();

      expect(await store.get('case')).toBeUndefined();
      expect(await store.list()).toEqual({ items: [] });
      expect(await store.list({ state: 'open' })).toEqual({ items: [] });
    });

    it('creates a case once', async () => {
      const store = await makeStore();

      const first = await store.create(aCase('case', { priority: 10 }));
      const second = await store.create(aCase('case', { priority: 90 }));

      expect([first, second]).toEqual([true, false]);
      expect(await store.get('case')).toEqual(aCase('case', { priority: 10 }));
    });

    it('is created by exactly one of many at the same time', async () => {
      const store = await makeStore();

      const created = await Promise.all(Array.from({ length: 8 }, () => store.create(aCase('case'))));

      expect(created.filter(Boolean)).toHaveLength(1);
    });

    it('updates the version that was read', async () => {
      const store = await makeStore();
      await store.create(aCase('case'));
      const decided = aCase('case', {
        version: 1,
        state: 'closed',
        decisions: [{ decision: 'confirm', reason: 'heard it\n"myself" 🎧', by: 'ann', at: minute(5) }],
      });

      await store.update(decided);

      expect(await store.get('case')).toEqual(decided);
    });

    it('refuses an update of a version that is no longer the stored one', async () => {
      const store = await makeStore();
      await store.create(aCase('case'));
      await store.update(aCase('case', { version: 1, priority: 70 }));

      const stale = store.update(aCase('case', { version: 1, priority: 20 }));
      await expect(stale).rejects.toThrow(ConflictError);
      const ahead = store.update(aCase('case', { version: 3, priority: 20 }));
      await expect(ahead).rejects.toThrow(ConflictError);

      expect((await store.get('case'))!.priority).toBe(70);
    });

    it('lets one of two concurrent updates win', async () => {
      const store = await makeStore();
      await store.create(aCase('case'));

      const outcomes = await Promise.allSettled([
        store.update(aCase('case', { version: 1, priority: 1 })),
        store.update(aCase('case', { version: 1, priority: 2 })),
      ]);

      expect(outcomes.map((outcome) => outcome.status).sort()).toEqual(['fulfilled', 'rejected']);
    });

    it('refuses an update of a case that does not exist', async () => {
      const store = await makeStore();

      await expect(store.update(aCase('case', { version: 1 }))).rejects.toThrow(ConflictError);

      expect(await store.get('case')).toBeUndefined();
    });

    it('lists the highest priority first, then the oldest', async () => {
      const store = await makeStore();
      await store.create(aCase('low', { priority: 5, openedAt: minute(0) }));
      await store.create(aCase('urgent and new', { priority: 100, openedAt: minute(9) }));
      await store.create(aCase('urgent and old', { priority: 100, openedAt: minute(1) }));
      await store.create(aCase('none', { priority: 0, openedAt: minute(0) }));
      await store.create(aCase('high', { priority: 40, openedAt: minute(5) }));
      // The same minute, written with fewer digits.
      await store.create(aCase('urgent and oldest', { priority: 100, openedAt: '2026-01-01T00:00:30Z' }));

      const { items } = await store.list();

      expect(items.map((item) => item.caseId)).toEqual([
        'urgent and oldest',
        'urgent and old',
        'urgent and new',
        'high',
        'low',
        'none',
      ]);
    });

    it('keeps that order over pages, each case once', async () => {
      const store = await makeStore();
      const cases = Array.from({ length: 40 }, (_, i) =>
        aCase(`case-${i}`, { priority: (i * 7) % 4, openedAt: minute((i * 3) % 5) }),
      );
      await Promise.all(cases.map((item) => store.create(item)));

      const listed = await allPages(9, (page) => store.list(page));

      const rank = (item: { priority: number; openedAt: string }) => [
        -item.priority,
        Date.parse(item.openedAt),
      ];
      expect(listed.map(rank)).toEqual(cases.map(rank).sort(([p, t], [q, u]) => p! - q! || t! - u!));
      expect(new Set(listed.map((item) => item.caseId)).size).toBe(40);
    });

    it('lists those of one state, also after the state changed', async () => {
      const store = await makeStore();
      for (let i = 0; i < 6; i++) await store.create(aCase(`case-${i}`, { openedAt: minute(i) }));
      await store.update(aCase('case-2', { version: 1, state: 'closed', openedAt: minute(2) }));
      await store.update(aCase('case-4', { version: 1, state: 'escalated', openedAt: minute(4) }));

      const open = await allPages(3, (page) => store.list({ ...page, state: 'open' }));
      const closed = await store.list({ state: 'closed' });

      expect(open.map((item) => item.caseId)).toEqual(['case-0', 'case-1', 'case-3', 'case-5']);
      expect(closed.items.map((item) => item.caseId)).toEqual(['case-2']);
    });

    it('takes ids of any script and sign', async () => {
      const store = await makeStore();
      for (const name of AWKWARD_NAMES) expect(await store.create(aCase(name))).toBe(true);

      const listed = await allPages(4, (page) => store.list(page));

      expect(listed.map((item) => item.caseId).sort()).toEqual([...AWKWARD_NAMES].sort());
      expect(await store.get(AWKWARD_NAMES[1]!)).toEqual(aCase(AWKWARD_NAMES[1]!));
    });

    it('refuses a cursor that is none', async () => {
      const store = await makeStore();
      await store.create(aCase('case'));

      await expect(store.list({ after: 'no cursor' })).rejects.toMatchObject({ code: 'BAD_CURSOR' });
    });
  });
}
