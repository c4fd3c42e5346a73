import {
  cpSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, describe, expect, it } from 'vitest';
import type { Catalogue } from '../../functions/ports/catalogue.ts';
import { openStore, type StoreOptions } from '../../local/adapters/store.ts';
import { rowsOf, seededRandom, segmentVectors } from './fixtures.ts';
import { temporaryFolder, temporaryStore } from './temporary.ts';

const DIMENSION = 32;
const MODEL = { id: 'test-model', dimension: DIMENSION };
/** Small enough that a few references fill a shard. */
const LIMITS = { exactRows: 200, shardRows: 1000 };
const TRACK = 150;

const track = (seed: number) => segmentVectors(TRACK, DIMENSION, seed);
const indexFolder = (folder: string) => join(folder, 'index', MODEL.id);
const indexFiles = (folder: string) => readdirSync(indexFolder(folder)).sort();
const row = (vectors: Float32Array, index: number) => rowsOf(vectors, DIMENSION, [index]);

async function withStore(
  folder: string,
  use: (catalogue: Catalogue) => Promise<void>,
  options?: Partial<StoreOptions>,
) {
  const store = await openStore(folder, { mode: 'write', limits: LIMITS, ...options });
  await use(store.catalogue(MODEL));
  await store.close();
}

/** A store with tracks `song-1` .. `song-<count>`, closed again: a copy of one that is made once. */
async function filled(count: number): Promise<string> {
  let template = templates.get(count);
  if (!template) {
    template = mkdtempSync(join(tmpdir(), 'refrain-test-'));
    templates.set(count, template);
    await withStore(template, async (catalogue) => {
      for (let seed = 1; seed <= count; seed++) await catalogue.add(`song-${seed}`, track(seed));
    });
  }
  const folder = temporaryFolder();
  cpSync(template, folder, { recursive: true });
  return folder;
}

const templates = new Map<number, string>();
afterAll(() => {
  for (const folder of templates.values()) rmSync(folder, { recursive: true });
});

/** Asks for one segment of each track; the songs whose segment was found as itself. */
async function found(catalogue: Catalogue, count: number): Promise<string[]> {
  const names: string[] = [];
  for (let seed = 1; seed <= count; seed++) {
    const [hits] = await catalogue.search(row(track(seed).vectors, seed % TRACK), 3);
    const [best] = hits!;
    if (best && best.segment === seed % TRACK && best.similarity > 0.98) names.push(best.referenceId);
  }
  return names;
}

const songs = (count: number) => Array.from({ length: count }, (_, i) => `song-${i + 1}`);

/** Collects what the store has to say. */
function notices() {
  const lines: string[] = [];
  const add = (message: string) => void lines.push(message);
  return { lines, log: { info: add, warn: add } };
}

function tamper(folder: string, sql: string): void {
  const db = new DatabaseSync(join(folder, 'refrain.db'));
  db.exec(sql);
  db.close();
}

describe('LocalCatalogue on disk', () => {
  it('finds everything again after it was closed, from shards and from what is in none', async () => {
    const folder = await filled(14);
    expect(indexFiles(folder).length).toBeGreaterThan(1);

    const store = await temporaryStore(folder, { mode: 'read', limits: LIMITS });

    expect(await found(store.catalogue(MODEL), 14)).toEqual(songs(14));
  });

  it('finds nearly all of the true neighbours', async () => {
    const store = await temporaryStore(undefined, { mode: 'write', limits: LIMITS });
    const catalogue = store.catalogue(MODEL);
    for (let seed = 1; seed <= 12; seed++) await catalogue.add(`song-${seed}`, track(seed));
    const exact = (await temporaryStore()).catalogue(MODEL);
    for (let seed = 1; seed <= 12; seed++) await exact.add(`song-${seed}`, track(seed));
    const queries = segmentVectors(100, DIMENSION, 99).vectors;

    // Twice as many, because quantisation shuffles neighbours that are nearly the same distance away.
    const near = await catalogue.search(queries, 20);
    const truth = await exact.search(queries, 10);

    const name = (hit: { referenceId: string; segment: number }) => `${hit.referenceId}/${hit.segment}`;
    const shares = truth.map((hits, i) => {
      const names = new Set(near[i]!.map(name));
      return hits.filter((hit) => names.has(name(hit))).length / 10;
    });
    expect(shares.reduce((sum, share) => sum + share, 0) / 100).toBeGreaterThan(0.98);
  });

  it('rewrites no row and no full shard when references are added', async () => {
    const folder = await filled(14);
    const state = () => {
      const db = new DatabaseSync(join(folder, 'refrain.db'), { readOnly: true });
      const blocks = db.prepare('SELECT * FROM block WHERE first_row < ? ORDER BY first_row').all(14 * TRACK);
      const shards = db.prepare('SELECT * FROM shard WHERE end_row - first_row >= ?').all(LIMITS.shardRows);
      db.close();
      const files = shards.map(({ file }) => {
        const { ino, mtimeNs } = statSync(join(indexFolder(folder), String(file)), { bigint: true });
        return { file, ino, mtimeNs };
      });
      return { blocks, shards, files };
    };
    const before = state();
    expect(before.shards.length).toBeGreaterThan(0);

    await withStore(folder, async (catalogue) => {
      for (let seed = 15; seed <= 30; seed++) await catalogue.add(`song-${seed}`, track(seed));
    });

    const after = state();
    expect(after.blocks).toEqual(before.blocks);
    expect(after.shards.slice(0, before.shards.length)).toEqual(before.shards);
    expect(after.files.slice(0, before.files.length)).toEqual(before.files);
  });

  it('leaves only the files that it needs', async () => {
    const folder = await filled(14);
    writeFileSync(join(indexFolder(folder), '0-99999.graph.new'), 'half-written by a killed process');

    await withStore(folder, async (catalogue) => void (await catalogue.search(track(1).vectors, 1)));

    const db = new DatabaseSync(join(folder, 'refrain.db'), { readOnly: true });
    const named = db.prepare('SELECT file FROM shard ORDER BY file').all();
    db.close();
    expect(indexFiles(folder)).toEqual(named.map(({ file }) => file));
  });

  it('finds what was added since the index was written', async () => {
    const folder = await filled(14);
    await withStore(folder, (catalogue) => catalogue.add('song-15', track(15)));

    const store = await temporaryStore(folder, { mode: 'read', limits: LIMITS });

    expect(await found(store.catalogue(MODEL), 15)).toEqual(songs(15));
  });

  it('is indexed by and by, though every writer adds but one reference and searches for nothing', async () => {
    const folder = temporaryFolder();
    for (let seed = 1; seed <= 6; seed++) {
      await withStore(folder, (catalogue) => catalogue.add(`song-${seed}`, track(seed)));
    }

    const db = new DatabaseSync(join(folder, 'refrain.db'), { readOnly: true });
    const { indexed } = db.prepare('SELECT max(end_row) AS indexed FROM shard').get()!;
    db.close();
    expect(Number(indexed)).toBeGreaterThanOrEqual(6 * TRACK - LIMITS.exactRows);
  });

  it('takes what is added though another reference is damaged', async () => {
    const folder = await filled(3);
    tamper(folder, `UPDATE block SET crc = crc + 1 WHERE reference_id = 'song-2'`);
    const { log, lines } = notices();
    const store = await temporaryStore(folder, { mode: 'write', limits: LIMITS, log });

    await store.catalogue(MODEL).add('long', segmentVectors(500, DIMENSION, 77));

    expect(await store.catalogue(MODEL).stats()).toMatchObject({ references: 4 });
    expect(lines.join()).toContain('cannot be indexed');
  });

  it('never gives a removed reference, also when its segments crowd out all others', async () => {
    const folder = temporaryFolder();
    const crowd = track(1);
    await withStore(folder, async (catalogue) => {
      // Twenty copies of one track: a removed one is always nearer than any other track.
      for (let copy = 0; copy < 20; copy++) await catalogue.add(`copy-${copy}`, crowd);
      for (let seed = 2; seed <= 8; seed++) await catalogue.add(`song-${seed}`, track(seed));
    });
    const store = await temporaryStore(folder, { mode: 'write', limits: LIMITS });
    const catalogue = store.catalogue(MODEL);
    await catalogue.search(row(crowd.vectors, 0), 1);

    for (let copy = 1; copy < 8; copy++) await catalogue.remove(`copy-${copy}`);
    const some = await catalogue.search(crowd.vectors, 20);
    for (let copy = 8; copy < 20; copy++) await catalogue.remove(`copy-${copy}`);
    await catalogue.remove('copy-0');
    const none = await catalogue.search(crowd.vectors, 20);

    const names = new Set(some.flat().map((hit) => hit.referenceId));
    for (let copy = 1; copy < 8; copy++) expect(names).not.toContain(`copy-${copy}`);
    expect(some.every((hits) => hits.length === 20)).toBe(true);
    expect(none.flat().filter((hit) => hit.referenceId.startsWith('copy'))).toEqual([]);
    expect(none.every((hits) => hits.length === 20)).toBe(true);
  });

  it('drops shards that removal has hollowed out', async () => {
    const folder = await filled(14);
    const before = indexFiles(folder);

    await withStore(folder, async (catalogue) => {
      for (let seed = 1; seed <= 6; seed++) await catalogue.remove(`song-${seed}`);
      await catalogue.search(track(9).vectors, 1);
    });

    expect(indexFiles(folder)).not.toContain(before[0]);
    const store = await temporaryStore(folder, { mode: 'read', limits: LIMITS });
    expect(await found(store.catalogue(MODEL), 14)).toEqual(songs(14).slice(6));
  });

  describe('when an index file', () => {
    const damages: [string, (path: string) => void][] = [
      ['is missing', (path) => rmSync(path)],
      ['has a flipped bit', (path) => flipBit(path, statSync(path).size >> 1)],
      ['has a flipped bit in its header', (path) => flipBit(path, 20)],
      ['is cut short', (path) => truncateSync(path, statSync(path).size >> 1)],
      ['is empty', (path) => truncateSync(path, 0)],
    ];

    it.each(damages)('%s, a writer builds it again', async (_, damage) => {
      const folder = await filled(14);
      const [first] = indexFiles(folder);
      damage(join(indexFolder(folder), first!));
      const { log, lines } = notices();

      await withStore(
        folder,
        async (catalogue) => {
          expect(await found(catalogue, 14)).toEqual(songs(14));
        },
        { log },
      );

      expect(lines.join()).toContain('building it again');
      const healed = notices();
      const store = await temporaryStore(folder, { mode: 'read', limits: LIMITS, log: healed.log });
      expect(await found(store.catalogue(MODEL), 14)).toEqual(songs(14));
      expect(healed.lines).toEqual([]);
    });

    it.each(damages)('%s, a reader finds everything without it, and leaves it alone', async (_, damage) => {
      const folder = await filled(14);
      const [first] = indexFiles(folder);
      damage(join(indexFolder(folder), first!));
      const before = indexFiles(folder);
      const { log, lines } = notices();

      const store = await temporaryStore(folder, { mode: 'read', limits: LIMITS, log });

      expect(await found(store.catalogue(MODEL), 14)).toEqual(songs(14));
      expect(lines.join()).toContain('searching without it');
      expect(indexFiles(folder)).toEqual(before);
    });
  });

  it('survives the loss of the whole index', async () => {
    const folder = await filled(14);
    rmSync(join(folder, 'index'), { recursive: true });

    await withStore(folder, async (catalogue) => expect(await found(catalogue, 14)).toEqual(songs(14)));

    expect(indexFiles(folder).length).toBeGreaterThan(0);
  });

  it('says whose vectors are damaged, rather than searching a part', async () => {
    const folder = await filled(3);
    tamper(folder, `UPDATE block SET vectors = substr(vectors, 1, 900) WHERE reference_id = 'song-2'`);
    tamper(folder, `UPDATE block SET crc = crc + 1 WHERE reference_id = 'song-3'`);
    rmSync(join(folder, 'index'), { recursive: true });

    const store = await temporaryStore(folder, { mode: 'write', limits: LIMITS });
    const catalogue = store.catalogue(MODEL);

    await expect(catalogue.search(row(track(1).vectors, 0), 1)).rejects.toMatchObject({
      code: 'DAMAGED_RECORD',
      message: expect.stringContaining('song-2'),
    });
    await expect(catalogue.vectorsOf('song-3', 0, 10)).rejects.toMatchObject({ code: 'DAMAGED_RECORD' });
    await catalogue.remove('song-2');
    await catalogue.remove('song-3');
    expect(await found(catalogue, 1)).toEqual(['song-1']);
  });

  it('lets a reader follow a writer that fills shards', async () => {
    const folder = temporaryFolder();
    const writer = await temporaryStore(folder, { mode: 'write', limits: LIMITS });
    await writer.catalogue(MODEL).add('song-1', track(1));
    const { log, lines } = notices();
    const reader = await temporaryStore(folder, { mode: 'read', limits: LIMITS, log });

    for (let seed = 1; seed <= 20; seed++) {
      await writer.catalogue(MODEL).add(`song-${seed}`, track(seed));
      if (seed % 3 === 0) expect(await found(reader.catalogue(MODEL), seed)).toEqual(songs(seed));
    }
    await writer.catalogue(MODEL).remove('song-4');

    expect(await found(reader.catalogue(MODEL), 20)).toEqual(songs(20).filter((name) => name !== 'song-4'));
    expect(lines).toEqual([]);
  });

  it('answers right while it is being filled', async () => {
    const store = await temporaryStore(undefined, { mode: 'write', limits: LIMITS });
    const catalogue = store.catalogue(MODEL);
    const random = seededRandom(7);
    const added: number[] = [];

    const filling = (async () => {
      for (let seed = 1; seed <= 15; seed++) {
        await catalogue.add(`song-${seed}`, track(seed));
        added.push(seed);
      }
    })();
    for (let i = 0; i < 30; i++) {
      const seed = added[Math.floor(random() * added.length)];
      const [hits] = await catalogue.search(row(track(seed ?? 1).vectors, 3), 5);
      if (seed) expect(hits![0]).toMatchObject({ referenceId: `song-${seed}`, segment: 3 });
      expect(new Set(hits!.map((hit) => `${hit.referenceId}/${hit.segment}`)).size).toBe(hits!.length);
    }
    await filling;

    expect(await found(catalogue, 15)).toEqual(songs(15));
  });

  it('keeps models apart', async () => {
    const store = await temporaryStore();
    const other = store.catalogue({ id: 'other-model', dimension: 16 });
    await store.catalogue(MODEL).add('song', track(1));
    await other.add('song', segmentVectors(3, 16, 1));

    expect(await other.remove('song')).toBe(3);

    expect(await store.catalogue(MODEL).stats()).toMatchObject({ segments: TRACK });
    expect(await other.stats()).toMatchObject({ segments: 0 });
  });

  it('refuses a model that changed its dimension under the same id', async () => {
    const folder = await filled(1);
    const store = await temporaryStore(folder);
    const changed = store.catalogue({ id: MODEL.id, dimension: 64 });

    await expect(changed.search(segmentVectors(1, 64, 1).vectors, 1)).rejects.toMatchObject({
      code: 'WRONG_DIMENSION',
    });
    await expect(changed.add('song', segmentVectors(1, 64, 1))).rejects.toMatchObject({
      code: 'WRONG_DIMENSION',
    });
  });

  it.each([
    ['too few values', new Float32Array(DIMENSION - 1).fill(0.1)],
    ['values for two segments', new Float32Array(2 * DIMENSION).fill(0.1)],
    ['zeros', new Float32Array(DIMENSION)],
    ['not a number', new Float32Array(DIMENSION).fill(Number.NaN)],
    ['infinity', new Float32Array(DIMENSION).fill(Number.POSITIVE_INFINITY)],
  ])('refuses %s for the vector of a segment, and stores nothing', async (_, vectors) => {
    const catalogue = (await temporaryStore()).catalogue(MODEL);

    const adding = catalogue.add('song', { segments: Uint32Array.of(0), vectors });

    await expect(adding).rejects.toMatchObject({ code: 'BAD_VECTORS' });
    expect(await catalogue.stats()).toMatchObject({ segments: 0 });
  });

  it('sorts segments that come out of order, and refuses one that comes twice', async () => {
    const catalogue = (await temporaryStore()).catalogue(MODEL);
    const { vectors } = segmentVectors(3, DIMENSION, 1);

    await catalogue.add('song', { segments: Uint32Array.of(7, 2, 5), vectors });
    const twice = catalogue.add('song', { segments: Uint32Array.of(1, 8, 1), vectors });

    await expect(twice).rejects.toMatchObject({ code: 'BAD_VECTORS' });
    expect([...(await catalogue.vectorsOf('song', 0, 100)).segments]).toEqual([2, 5, 7]);
    expect((await catalogue.search(row(vectors, 1), 1))[0]![0]).toMatchObject({ segment: 2 });
  });

  it('does not count a repeated add or an idle remove as a change', async () => {
    const catalogue = (await temporaryStore()).catalogue(MODEL);
    await catalogue.add('song', track(1));
    const before = await catalogue.stats();

    await catalogue.add('song', track(1));
    await catalogue.remove('unknown');

    expect(await catalogue.stats()).toEqual(before);
  });
});

function flipBit(path: string, offset: number): void {
  const bytes = readFileSync(path);
  bytes[offset]! ^= 1;
  writeFileSync(path, bytes);
}
