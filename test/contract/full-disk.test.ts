import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { LocalCatalogue } from '../../local/adapters/catalogue.ts';
import { LocalQueue } from '../../local/adapters/queue.ts';
import { LocalReferenceStore } from '../../local/adapters/reference-store.ts';
import { LocalScanStore } from '../../local/adapters/scan-store.ts';
import { openStore } from '../../local/adapters/store.ts';
import { Database } from '../../local/store/database.ts';
import { aReference, segmentVectors } from './fixtures.ts';
import { temporaryFolder, temporaryStore } from './temporary.ts';

const MODEL = { id: 'test-model', dimension: 128 };

describe('a full disk', () => {
  it('fails each write with a clear error, and spoils nothing that was acknowledged', async () => {
    const folder = temporaryFolder();
    await (await openStore(folder, { mode: 'write' })).close();
    const db = new Database(join(folder, 'refrain.db'));
    const { page_count: pages } = db.get('PRAGMA page_count')!;
    db.exec(`PRAGMA max_page_count = ${Number(pages) + 60}`);
    const references = new LocalReferenceStore(db);
    const catalogue = new LocalCatalogue(db, join(folder, 'index'), MODEL, { mode: 'write', log: console });

    let acknowledged = 0;
    let fault: unknown;
    while (!fault) {
      try {
        await references.put(aReference(`song-${acknowledged}`));
        await catalogue.add(`song-${acknowledged}`, segmentVectors(200, 128, acknowledged));
        acknowledged++;
      } catch (error) {
        fault = error;
      }
    }

    expect(acknowledged).toBeGreaterThan(3);
    expect(fault).toMatchObject({
      code: 'STORE_FULL',
      message: expect.stringMatching(/disk is full.*refrain\.db/),
    });
    await expect(
      new LocalScanStore(db).putWindow('scan', 0, new Uint8Array(1_000_000)),
    ).rejects.toMatchObject({ code: 'STORE_FULL' });
    await expect(new LocalQueue(db, 'requests').send('x'.repeat(1_000_000))).rejects.toMatchObject({
      code: 'STORE_FULL',
    });
    // What it has can still be read, and space can be made.
    expect(await catalogue.stats()).toMatchObject({ segments: 200 * acknowledged, references: acknowledged });
    expect(await catalogue.remove('song-0')).toBe(200);
    await catalogue.add('small', segmentVectors(10, 128, 77));
    db.close();

    const store = await temporaryStore(folder);
    for (let n = 1; n < acknowledged; n++) {
      expect(await store.references.get(`song-${n}`)).toEqual(aReference(`song-${n}`));
      expect((await store.catalogue(MODEL).vectorsOf(`song-${n}`, 0, 1000)).segments).toHaveLength(200);
    }
    await store.catalogue(MODEL).add('now', segmentVectors(2000, 128, 78));
  });

  // A file system of two megabytes, in a name space of its own, which some machines forbid.
  const canMount =
    process.platform === 'linux' &&
    spawnSync('unshare', ['--user', '--map-root-user', '--mount', 'true']).status === 0;

  it.skipIf(!canMount)(
    'is told as such, and survived, when the file system really is full',
    { timeout: 120_000 },
    () => {
      const folder = join(temporaryFolder(), 'small disk');
      mkdirSync(folder);
      const script = `
      import { rmSync, writeFileSync } from 'node:fs';
      const { openStore } = await import(${JSON.stringify(join(import.meta.dirname, '../../local/adapters/store.ts'))});
      const { segmentVectors } = await import(${JSON.stringify(join(import.meta.dirname, 'fixtures.ts'))});
      const [, disk] = process.argv;
      const folder = disk + '/store';
      const model = { id: 'test-model', dimension: 128 };
      const told = {};

      writeFileSync(disk + '/ballast', new Uint8Array(400_000));
      const store = await openStore(folder, { mode: 'write', limits: { exactRows: 1000 } });
      let acknowledged = 0;
      while (!told.filling && acknowledged < 1000) {
        await store.catalogue(model).add('song-' + acknowledged, segmentVectors(200, 128, acknowledged)).then(
          () => acknowledged++,
          (error) => (told.filling = error),
        );
      }
      await store.close();
      await openStore(folder, { mode: 'write' }).then((again) => again.close(), (error) => (told.opening = error));

      const reader = await openStore(folder, { mode: 'read' });
      const stats = await reader.catalogue(model).stats();
      await reader.close();

      rmSync(disk + '/ballast');
      const writer = await openStore(folder, { mode: 'write' });
      await writer.catalogue(model).add('one more', segmentVectors(200, 128, 5000));
      const hits = await writer.catalogue(model).search(segmentVectors(1, 128, 3).vectors, 1);
      await writer.close();
      console.log(JSON.stringify({
        acknowledged, stats, hit: hits[0][0],
        told: Object.fromEntries(Object.entries(told).map(([when, { code, message }]) => [when, { code, message }])),
      }));`;

      const output = execFileSync(
        'unshare',
        [
          ...['--user', '--map-root-user', '--mount', 'sh', '-c'],
          'mount -t tmpfs -o size=2m tmpfs "$1" && exec "$2" --input-type=module --eval "$3" "$1"',
          ...['sh', folder, process.execPath, script],
        ],
        { encoding: 'utf8' },
      );

      const { acknowledged, told, stats, hit } = JSON.parse(output.trim().split('\n').at(-1)!);
      expect(told.filling).toMatchObject({
        code: 'STORE_FULL',
        message: expect.stringContaining('disk is full'),
      });
      // Opening for writing may need room as well; it then says so just as clearly.
      if (told.opening) expect(told.opening.code).toBe('STORE_FULL');
      expect(acknowledged).toBeGreaterThan(5);
      expect(stats).toMatchObject({ segments: 200 * acknowledged, references: acknowledged });
      expect(hit).toMatchObject({ referenceId: 'song-3', segment: 0 });
    },
  );
});
