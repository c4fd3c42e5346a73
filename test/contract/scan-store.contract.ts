import { describe, expect, it } from 'vitest';
import type { ScanStore } from '../../functions/ports/stores.ts';
import { allPages, aScan, minute } from './fixtures.ts';

/**
 * What every scan store must do.
 * @param makeStore an empty store; called once per test
 */
export function describeScanStoreContract(name: string, makeStore: () => Promise<ScanStore>): void {
  describe(`${name} as a scan store`, () => {
    const NOW = 1_000_000;
    const LATER = NOW + 60_000;

    const windowsOf = async (store: ScanStore, scanId: string) => {
      const windows: [number, number[]][] = [];
      for await (const { window, data } of store.windows(scanId)) windows.push([window, [...data]]);
      return windows;
    };

    describe('records', () => {
      it('knows nothing at first', async () => {
        const store = await makeStore();

        expect(await store.get('scan')).toBeUndefined();
        expect(await store.list()).toEqual({ items: [] });
      });

      it('gives back exactly what was put', async () => {
        const store = await makeStore();
        const scan = aScan('scan', {
          state: 'done',
          verdict: 'incomplete',
          reason: { code: 'TRUNCATED', message: 'it "ends"\nearly 🎧' },
          unsearched: [{ startMs: 0, endMs: 500.25, why: 'silence' }],
          durationMs: 1234.5,
          searchedMs: 734.25,
          indexGeneration: 7,
          announced: true,
          attempts: 2,
          finishedAt: minute(3),
        });

        await store.put(scan);

        expect(await store.get('scan')).toEqual(scan);
      });

      it('keeps a record with thousands of matched spans', async () => {
        const store = await makeStore();
        const span = {
          uploadStartMs: 1,
          uploadEndMs: 2,
          referenceStartMs: 3,
          referenceEndMs: 4,
          speed: 1.01,
          confidence: 0.9,
        };
        const scan = aScan('scan', {
          detections: Array.from({ length: 400 }, (_, i) => ({
            detectionId: `detection-${i}`,
            referenceId: `reference-${i}`,
            confidence: 0.9,
            coverage: { upload: 0.1, reference: 0.1 },
            matchedMs: 1000,
            spans: Array.from({ length: 10 }, () => span),
            action: 'review' as const,
          })),
        });

        await store.put(scan);

        expect(await store.get('scan')).toEqual(scan);
      });

      it('lists all of them in pages, newest first', async () => {
        const store = await makeStore();
        const ids = Array.from({ length: 23 }, (_, i) => `scan-${i}`);
        await Promise.all(ids.map((id, i) => store.put(aScan(id, { startedAt: minute(i) }))));

        const listed = await allPages(5, (page) => store.list(page));

        expect(listed.map((scan) => scan.scanId)).toEqual(ids.toReversed());
      });

      it('lists those of one verdict, also after the verdict changed', async () => {
        const store = await makeStore();
        for (let i = 0; i < 6; i++) {
          await store.put(
            aScan(`scan-${i}`, { state: 'done', verdict: i % 2 ? 'flagged' : 'clear', startedAt: minute(i) }),
          );
        }
        await store.put(aScan('running', { startedAt: minute(9) }));
        await store.put(aScan('scan-1', { state: 'done', verdict: 'clear', startedAt: minute(1) }));

        const flagged = await allPages(1, (page) => store.list({ ...page, verdict: 'flagged' }));
        const rejected = await store.list({ verdict: 'rejected' });

        expect(flagged.map((scan) => scan.scanId)).toEqual(['scan-5', 'scan-3']);
        expect(rejected.items).toEqual([]);
      });
    });

    describe('claims', () => {
      it('creates a new scan and gives it to one worker', async () => {
        const store = await makeStore();

        const mine = await store.claim(aScan('scan'), 'me', NOW, LATER);
        const theirs = await store.claim(aScan('scan'), 'them', NOW, LATER);

        expect(mine).toEqual(aScan('scan'));
        expect(theirs).toBeUndefined();
        expect(await store.get('scan')).toEqual(aScan('scan'));
      });

      it('gives a scan to exactly one of many workers that ask at the same time', async () => {
        const store = await makeStore();

        const claims = await Promise.all(
          Array.from({ length: 10 }, (_, i) => store.claim(aScan('scan'), `worker-${i}`, NOW, LATER)),
        );

        expect(claims.filter((claim) => claim !== undefined)).toHaveLength(1);
      });

      it('lets anybody take a scan that begins anew after it was announced', async () => {
        const store = await makeStore();
        await store.claim(aScan('scan'), 'me', NOW, LATER);
        await store.put(aScan('scan', { state: 'done', verdict: 'clear', announced: true }));
        await store.put(aScan('scan'));

        const theirs = await store.claim(aScan('scan'), 'them', NOW, LATER);

        expect(theirs).toEqual(aScan('scan'));
      });

      it('gives the stored record, not the initial one, to a later worker', async () => {
        const store = await makeStore();
        await store.claim(aScan('scan'), 'me', NOW, LATER);
        await store.put(aScan('scan', { attempts: 3 }));
        await store.release('scan', 'me');

        const claim = await store.claim(aScan('scan', { startedAt: minute(9) }), 'them', NOW, LATER);

        expect(claim).toEqual(aScan('scan', { attempts: 3 }));
      });

      it('keeps the claim when the record is put', async () => {
        const store = await makeStore();
        await store.claim(aScan('scan'), 'me', NOW, LATER);

        await store.put(aScan('scan', { attempts: 1 }));

        expect(await store.claim(aScan('scan'), 'them', NOW, LATER)).toBeUndefined();
      });

      it('lets a worker claim again what it holds, and so extend the time', async () => {
        const store = await makeStore();
        await store.claim(aScan('scan'), 'me', NOW, LATER);

        const again = await store.claim(aScan('scan'), 'me', LATER - 1, LATER + 60_000);

        expect(again).toBeDefined();
        expect(await store.claim(aScan('scan'), 'them', LATER + 1, LATER + 60_000)).toBeUndefined();
      });

      it('gives a scan to another worker once the claim has run out', async () => {
        const store = await makeStore();
        await store.claim(aScan('scan'), 'me', NOW, LATER);

        expect(await store.claim(aScan('scan'), 'them', LATER - 1, LATER + 60_000)).toBeUndefined();
        expect(await store.claim(aScan('scan'), 'them', LATER, LATER + 60_000)).toBeDefined();
        expect(await store.claim(aScan('scan'), 'me', LATER + 1, LATER + 60_000)).toBeUndefined();
      });

      it('releases only what the worker still holds', async () => {
        const store = await makeStore();
        await store.claim(aScan('scan'), 'me', NOW, LATER);
        await store.claim(aScan('scan'), 'them', LATER, LATER + 60_000);

        await store.release('scan', 'me');
        await store.release('unknown scan', 'me');

        expect(await store.claim(aScan('scan'), 'me', LATER + 1, LATER + 60_000)).toBeUndefined();
      });

      it('gives a finished scan to everyone, without being taken', async () => {
        const store = await makeStore();
        await store.claim(aScan('scan'), 'me', NOW, LATER);
        const done = aScan('scan', { state: 'done', verdict: 'clear' });
        await store.put(done);

        expect(await store.claim(aScan('scan'), 'them', NOW, LATER)).toEqual(done);
        expect(await store.claim(aScan('scan'), 'others', NOW, LATER)).toEqual(done);
      });
    });

    describe('windows', () => {
      it('gives them back in order, whatever order they were put in', async () => {
        const store = await makeStore();
        for (const window of [10, 2, 0, 99_999, 1]) {
          await store.putWindow('scan', window, Uint8Array.of(window % 256, 0, 255));
        }

        const windows = await windowsOf(store, 'scan');

        expect(windows.map(([window]) => window)).toEqual([0, 1, 2, 10, 99_999]);
        expect(windows[3]![1]).toEqual([10, 0, 255]);
      });

      it('replaces a window that is put again', async () => {
        const store = await makeStore();
        await store.putWindow('scan', 0, Uint8Array.of(1));

        await store.putWindow('scan', 0, Uint8Array.of(2, 3));

        expect(await windowsOf(store, 'scan')).toEqual([[0, [2, 3]]]);
      });

      it('keeps the windows of different scans apart, also when one name begins the other', async () => {
        const store = await makeStore();
        await store.putWindow('scan', 0, Uint8Array.of(1));
        await store.putWindow('scan2', 0, Uint8Array.of(2));

        await store.deleteWindows('scan');

        expect(await windowsOf(store, 'scan')).toEqual([]);
        expect(await windowsOf(store, 'scan2')).toEqual([[0, [2]]]);
        await store.deleteWindows('scan');
      });

      it('gives large windows back byte by byte', async () => {
        const store = await makeStore();
        const large = Uint8Array.from({ length: 700_000 }, (_, i) => (i * 31) % 251);
        await store.putWindow('scan', 0, large);

        const windows: Uint8Array[] = [];
        for await (const { data } of store.windows('scan')) windows.push(data);

        expect(Buffer.compare(windows[0]!, large)).toBe(0);
      });

      it('may be written while they are read', async () => {
        const store = await makeStore();
        for (let window = 0; window < 20; window++)
          await store.putWindow('scan', window, Uint8Array.of(window));

        const seen: number[] = [];
        for await (const { window } of store.windows('scan')) {
          seen.push(window);
          await store.putWindow('scan', 0, Uint8Array.of(7));
        }

        expect(seen).toEqual(Array.from({ length: 20 }, (_, i) => i));
      });
    });
  });
}
