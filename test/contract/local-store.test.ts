import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, expect, it, onTestFinished } from 'vitest';
import { openStore } from '../../local/adapters/store.ts';
import { aCase, aReference, aScan, minute, segmentVectors } from './fixtures.ts';
import { temporaryFolder, temporaryStore } from './temporary.ts';

const MODEL = { id: 'test-model', dimension: 32 };

/** Changes the database behind the store's back. */
function tamper(folder: string, sql: string): void {
  const db = new DatabaseSync(join(folder, 'refrain.db'));
  db.exec(sql);
  db.close();
}

/** Another process that opens the store for writing, says so, and lives until it is killed. */
async function otherWriter(folder: string) {
  const store = join(import.meta.dirname, '../../local/adapters/store.ts');
  const script = `
    const { openStore } = await import(${JSON.stringify(store)});
    const store = await openStore(${JSON.stringify(folder)}, { mode: 'write' });
    await store.queue('requests').send('work');
    await store.queue('requests').receive({ visibilitySeconds: 3600 });
    await store.scans.claim(${JSON.stringify(aScan('scan'))}, 'other', Date.now(), Date.now() + 3_600_000);
    process.stdout.write('open');
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  await once(child.stdout, 'data');
  return child;
}

describe('a store folder', () => {
  it('is made where it is wanted, and keeps what it was given', async () => {
    const folder = join(temporaryFolder(), 'new', 'störe 🎧');
    const store = await openStore(folder, { mode: 'write' });
    await store.references.put(aReference('song'));
    await store.catalogue(MODEL).add('song', segmentVectors(5, 32, 1));
    await store.close();

    const again = await temporaryStore(folder, { mode: 'read' });

    expect(await again.references.get('song')).toEqual(aReference('song'));
    expect(await again.catalogue(MODEL).stats()).toMatchObject({ segments: 5, references: 1 });
  });

  it('lets readers see what a writer commits, while it writes', async () => {
    const folder = temporaryFolder();
    const writer = await temporaryStore(folder);
    const song = segmentVectors(5, 32, 1);
    const reader = await temporaryStore(folder, { mode: 'read' });
    expect(await reader.references.get('song')).toBeUndefined();

    await writer.references.put(aReference('song'));
    await writer.catalogue(MODEL).add('song', song);

    expect(await reader.references.get('song')).toBeDefined();
    const [hits] = await reader.catalogue(MODEL).search(song.vectors.slice(0, 32), 1);
    expect(hits![0]).toMatchObject({ referenceId: 'song', segment: 0 });
  });

  it('refuses every change by a reader', async () => {
    const folder = temporaryFolder();
    await temporaryStore(folder);
    const reader = await temporaryStore(folder, { mode: 'read' });

    const changes = [
      () => reader.references.put(aReference('song')),
      () => reader.scans.claim(aScan('scan'), 'me', 0, 1),
      () => reader.cases.create(aCase('case')),
      () => reader.queue('requests').send('body'),
      () => reader.catalogue(MODEL).add('song', segmentVectors(5, 32, 1)),
    ];

    for (const change of changes) await expect(change()).rejects.toMatchObject({ code: 'STORE_READ_ONLY' });
  });

  it('refuses a second writer and names the first', async () => {
    const folder = temporaryFolder();
    const first = await otherWriter(folder);

    const second = openStore(folder, { mode: 'write' });

    await expect(second).rejects.toMatchObject({
      code: 'STORE_BUSY',
      message: expect.stringContaining(`process ${first.pid}`),
    });
  });

  it('is free at once when its writer is killed, and so is the work that it had taken', async () => {
    const folder = temporaryFolder();
    const killed = await otherWriter(folder);
    killed.kill('SIGKILL');
    await once(killed, 'exit');

    const store = await temporaryStore(folder);

    expect(await store.scans.claim(aScan('scan'), 'me', Date.now(), Date.now() + 1000)).toBeDefined();
    const [message] = await store.queue('requests').receive();
    expect(message!.body).toBe('work');
    expect(message!.attributes.ApproximateReceiveCount).toBe('1');
  });

  it('is opened again after it was closed, as often as one likes', async () => {
    const folder = temporaryFolder();
    for (let i = 0; i < 3; i++) {
      const store = await openStore(folder, { mode: 'write' });
      await store.references.put(aReference(`song-${i}`));
      await store.close();
      await store.close();
    }

    const store = await temporaryStore(folder, { mode: 'read' });

    expect((await store.references.list()).items).toHaveLength(3);
  });

  it('says that it was closed when it is used afterwards', async () => {
    const store = await openStore(temporaryFolder(), { mode: 'write' });
    await store.close();

    await expect(store.references.get('song')).rejects.toMatchObject({ code: 'STORE_CLOSED' });
  });

  it('is not made by a reader', async () => {
    const folder = join(temporaryFolder(), 'nothing here');

    await expect(openStore(folder, { mode: 'read' })).rejects.toMatchObject({ code: 'STORE_NOT_FOUND' });
  });

  it.each(['read', 'write'] as const)('is refused when a newer version wrote it (%s)', async (mode) => {
    const folder = temporaryFolder();
    await (await openStore(folder, { mode: 'write' })).close();
    tamper(folder, 'PRAGMA user_version = 1000');

    const opening = openStore(folder, { mode });

    await expect(opening).rejects.toMatchObject({
      code: 'STORE_TOO_NEW',
      message: expect.stringContaining('upgrade Refrain'),
    });
  });

  it('is refused where a file is in the way', async () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, 'file'), 'not a folder');

    for (const path of ['file', 'file/store']) {
      const opening = openStore(join(folder, path), { mode: 'write' });
      await expect(opening).rejects.toMatchObject({ code: 'STORE_NOT_A_FOLDER' });
    }
  });

  it.runIf(existsSync('/proc/self'))(
    'is refused where nothing can be made, and not tried for ever',
    async () => {
      const opening = openStore('/proc/refrain/store', { mode: 'write' });

      await expect(opening).rejects.toMatchObject({ code: 'STORE_NOT_WRITABLE' });
    },
  );

  it('is refused when its database is no database, or not ours', async () => {
    const text = temporaryFolder();
    writeFileSync(
      join(text, 'refrain.db'),
      'something else entirely, and long enough to be looked at'.repeat(100),
    );
    const foreign = temporaryFolder();
    tamper(foreign, 'CREATE TABLE recipes (name TEXT)');

    for (const folder of [text, foreign]) {
      await expect(openStore(folder, { mode: 'write' })).rejects.toMatchObject({ code: 'STORE_DAMAGED' });
    }
    // A refused folder is not left locked.
    await expect(openStore(text, { mode: 'write' })).rejects.toMatchObject({ code: 'STORE_DAMAGED' });
  });

  it.skipIf(process.platform === 'win32')('is refused where this user may not write', async () => {
    const folder = temporaryFolder();
    const locked = join(folder, 'locked');
    mkdirSync(locked);
    chmodSync(folder, 0o755);
    chmodSync(locked, 0o555);
    // Permissions do not stop the superuser, so act as nobody.
    const isRoot = process.getuid!() === 0;
    if (isRoot) process.seteuid!(65534);
    try {
      for (const path of [locked, join(locked, 'store')]) {
        await expect(openStore(path, { mode: 'write' })).rejects.toMatchObject({
          code: expect.stringMatching(/^STORE_(NOT_WRITABLE|UNREADABLE)$/),
          message: expect.stringContaining(locked),
        });
      }
    } finally {
      if (isRoot) process.seteuid!(0);
    }
  });

  it('holds nothing but the database once it is closed, until there is an index', async () => {
    const folder = temporaryFolder();
    const store = await openStore(folder, { mode: 'write' });
    await store.references.put(aReference('song'));
    await store.close();

    expect(readdirSync(folder).sort()).toEqual(['refrain.db', 'writer.lock']);
  });
});

describe('a damaged record', () => {
  const store = async () => {
    const folder = temporaryFolder();
    const opened = await openStore(folder, { mode: 'write' });
    for (let i = 0; i < 3; i++) {
      await opened.references.put(aReference(`song-${i}`, { registeredAt: minute(i) }));
      await opened.scans.put(aScan(`scan-${i}`));
      await opened.cases.create(aCase(`case-${i}`));
    }
    await opened.close();
    return folder;
  };

  it.each([
    ['is not JSON', `record = '{"referenceId": "song-1", '`, 'not JSON'],
    ['lacks a field', `record = json_remove(record, '$.state')`, 'state'],
    ['has a field of the wrong kind', `record = json_set(record, '$.segments', 'many')`, 'segments'],
    ['is a blob', `record = x'00ff'`, 'not JSON'],
  ])('that %s costs itself only, and is named', async (_, change, fault) => {
    const folder = await store();
    tamper(folder, `UPDATE reference SET ${change} WHERE reference_id = 'song-1'`);
    const { references } = await temporaryStore(folder, { mode: 'read' });

    const { items, damaged } = await references.list();

    expect(items.map((item) => item.referenceId)).toEqual(['song-2', 'song-0']);
    expect(damaged).toEqual([
      { id: 'song-1', message: expect.stringMatching(new RegExp(`reference "song-1".*${fault}`)) },
    ]);
    await expect(references.get('song-1')).rejects.toMatchObject({ code: 'DAMAGED_RECORD' });
    await expect(references.getMany(['song-0', 'song-1'])).rejects.toMatchObject({ code: 'DAMAGED_RECORD' });
    expect(await references.get('song-0')).toBeDefined();
  });

  it('of a scan or a case is named just so', async () => {
    const folder = await store();
    tamper(folder, `UPDATE scan SET record = '[]' WHERE scan_id = 'scan-1'`);
    tamper(folder, `UPDATE review_case SET record = '[]' WHERE case_id = 'case-1'`);
    const { scans, cases } = await temporaryStore(folder, { mode: 'read' });

    expect((await scans.list()).damaged).toEqual([
      { id: 'scan-1', message: expect.stringContaining('scan-1') },
    ]);
    expect((await cases.list()).damaged).toEqual([
      { id: 'case-1', message: expect.stringContaining('case-1') },
    ]);
    await expect(scans.get('scan-1')).rejects.toMatchObject({ code: 'DAMAGED_RECORD' });
    await expect(cases.get('case-1')).rejects.toMatchObject({ code: 'DAMAGED_RECORD' });
  });
});

describe('what is erased', () => {
  it('is in no file of the store afterwards', async () => {
    const folder = temporaryFolder();
    const store = await openStore(folder, { mode: 'write', limits: { exactRows: 50 } });
    const secret = 'a title that nobody must find again';
    await store.references.put(aReference('song', { title: secret }));
    await store.catalogue(MODEL).add('song', segmentVectors(400, 32, 1));
    await store.catalogue(MODEL).add('other', segmentVectors(400, 32, 2));
    const stored = new DatabaseSync(join(folder, 'refrain.db'), { readOnly: true });
    const { vectors } = stored.prepare(`SELECT vectors FROM block WHERE reference_id = 'song'`).get()!;
    stored.close();
    const fingerprint = Buffer.from(vectors as Uint8Array).subarray(100, 140);
    await store.close();
    expect(filesWith(folder, fingerprint)).toEqual(['refrain.db']);

    const again = await openStore(folder, { mode: 'write' });
    await again.references.delete('song');
    await again.catalogue(MODEL).remove('song');
    await again.close();

    expect(filesWith(folder, fingerprint)).toEqual([]);
    expect(filesWith(folder, Buffer.from(secret))).toEqual([]);
  });

  const filesWith = (folder: string, bytes: Buffer) =>
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && readFileSync(join(entry.parentPath, entry.name)).includes(bytes))
      .map((entry) => entry.name);
});
