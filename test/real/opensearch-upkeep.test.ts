import { randomUUID } from 'node:crypto';
import { describe, expect, inject, it, onTestFinished } from 'vitest';
import {
  OpenSearchCatalogue,
  type OpenSearchCatalogueSettings,
} from '../../functions/adapters/aws/opensearch-catalogue.ts';
import { createOpenSearchClient } from '../../functions/adapters/aws/opensearch-client.ts';
import { OpenSearchUpkeep } from '../../functions/adapters/aws/opensearch-upkeep.ts';
import { readManifest } from '../../functions/embed/model-folder.ts';
import { seededRandom } from '../support/audio.ts';
import { MODEL_DIR } from './support/deployment.ts';
import { eventually } from './support/eventually.ts';
import { FaultyProxy } from './support/faulty-proxy.ts';

// What upkeep asks of the genuine server: few graphs, copies of what is written to meanwhile, and a change in one step.

const DIMENSION = 16;
const SHARDS = 2;

function segmentsOf(rows: number, seed: number) {
  const random = seededRandom(seed);
  const vectors = Float32Array.from({ length: rows * DIMENSION }, () => random() - 0.5);
  for (let row = 0; row < rows; row++) {
    const vector = vectors.subarray(row * DIMENSION, (row + 1) * DIMENSION);
    const length = Math.hypot(...vector);
    for (let i = 0; i < DIMENSION; i++) vector[i]! /= length;
  }
  return { segments: Uint32Array.from({ length: rows }, (_, row) => row), vectors };
}

const client = (url = inject('openSearchUrl')) => createOpenSearchClient({ url, auth: { kind: 'none' } });

/** A model of its own, so that its indexes are nobody else's. */
const newSettings = (): OpenSearchCatalogueSettings => ({
  modelId: `m${randomUUID().slice(0, 8)}`,
  dimension: DIMENSION,
  engine: 'lucene',
  shards: SHARDS,
  refreshInterval: '100ms',
});

const upkeepOf = async (settings: OpenSearchCatalogueSettings, url?: string) =>
  new OpenSearchUpkeep(
    client(url),
    { ...(await readManifest(MODEL_DIR)), id: settings.modelId, dimension: DIMENSION },
    settings,
  );

/** As the register function does it, which knows what there should be. */
async function copyAll(upkeep: OpenSearchUpkeep): Promise<void> {
  for (const referenceId of (await upkeep.counts('live')).keys()) await upkeep.copy(referenceId);
}

const always = async () => true;

/** Each of them written and found before the next one: a graph for each, in every shard. */
async function addSongs(catalogue: OpenSearchCatalogue, from: number, to: number): Promise<void> {
  for (let seed = from; seed < to; seed++) await catalogue.add(`song ${seed}`, segmentsOf(40, seed));
}

const merged = (upkeep: OpenSearchUpkeep, which: 'live' | 'next' = 'live') =>
  eventually('the end of merging', async () => {
    const { [which]: index } = await upkeep.state();
    return index!.merging ? undefined : index!;
  });

describe('merging', () => {
  it('leaves one graph in each shard, in which the same is found', async () => {
    const settings = newSettings();
    const live = new OpenSearchCatalogue(client(), settings);
    await live.ensureIndex();
    await addSongs(live, 1, 6);
    const upkeep = await upkeepOf(settings);
    const { vectors: queries } = segmentsOf(40, 3);
    const { live: before } = await upkeep.state();
    const hitsBefore = await live.search(queries, 10);

    const begun = await upkeep.merge();
    const after = await merged(upkeep);
    const again = await upkeep.merge();

    expect(begun).toBe(true);
    expect(before!.graphs).toBeGreaterThan(2 * SHARDS);
    expect(before!.unmerged).toBeGreaterThan(0.3);
    expect(after).toMatchObject({ graphs: SHARDS, unmerged: 0, segments: before!.segments });
    expect(await live.search(queries, 10)).toEqual(hitsBefore);
    expect(hitsBefore.map(([best]) => best!.referenceId)).toEqual(Array(40).fill('song 3'));
    expect(again).toBe(false);
  });

  it('is not begun while it goes on', async () => {
    const settings = newSettings();
    const live = new OpenSearchCatalogue(client(), settings);
    await live.ensureIndex();
    await addSongs(live, 1, 4);
    const proxy = await FaultyProxy.before(inject('openSearchUrl'));
    onTestFinished(() => proxy.close());
    const upkeep = await upkeepOf(settings, proxy.url);
    // The task as this server tells of it, which is over too soon to meet it.
    const task = {
      action: 'indices:admin/forcemerge',
      description: `Force-merge indices [${live.alias}-000001], maxSegments[1], onlyExpungeDeletes[false], flush[true]`,
    };
    proxy.fault = ({ path }) =>
      path.startsWith('/_tasks')
        ? { status: 200, body: JSON.stringify({ nodes: { node: { tasks: { 'node:1': task } } } }) }
        : undefined;

    const begun = await upkeep.merge();

    expect(begun).toBe(false);
    expect((await upkeep.state()).live!.merging).toBe(true);
    expect(proxy.requests.filter(({ path }) => path.includes('_forcemerge'))).toEqual([]);
  });

  it('is told of by the server in the words that are looked for', async () => {
    const settings = newSettings();
    const live = new OpenSearchCatalogue(client(), settings);
    await live.ensureIndex();
    await addSongs(live, 1, 4);
    const proxy = await FaultyProxy.before(inject('openSearchUrl'));
    onTestFinished(() => proxy.close());
    const upkeep = await upkeepOf(settings, proxy.url);
    // The server asks itself while it begins, so that the task cannot be over.
    let told = '';
    proxy.fault = async ({ path, forward }) => {
      if (!path.includes('_forcemerge')) return undefined;
      const answer = await forward();
      const { task } = JSON.parse(answer.body);
      const response = await fetch(`${inject('openSearchUrl')}/_tasks/${task}?wait_for_completion=true`);
      told = await response.text();
      return answer;
    };

    await upkeep.merge();

    expect(JSON.parse(told)).toMatchObject({
      completed: true,
      task: {
        action: 'indices:admin/forcemerge',
        description: expect.stringContaining(`[${live.alias}-000001]`),
      },
    });
  });

  it('is left alone where there is no index, or one that is about to be replaced', async () => {
    const settings = newSettings();
    const upkeep = await upkeepOf(settings);
    const live = new OpenSearchCatalogue(client(), settings);

    const withoutIndex = await upkeep.merge();
    await live.ensureIndex();
    await addSongs(live, 1, 4);
    await upkeep.begin();
    const whileReplaced = await upkeep.merge();

    expect([withoutIndex, whileReplaced]).toEqual([false, false]);
  });

  it('comes before a new index takes over, and once, though it is written to meanwhile', async () => {
    const settings = newSettings();
    const live = new OpenSearchCatalogue(client(), settings);
    await live.ensureIndex();
    await addSongs(live, 1, 4);
    const upkeep = await upkeepOf(settings);
    await upkeep.begin();
    for (const referenceId of (await upkeep.counts('live')).keys()) {
      await upkeep.copy(referenceId);
      await upkeep.counts('next'); // makes what was written searchable
    }
    const { next: before } = await upkeep.state();

    const first = await upkeep.mergeNext();
    const after = await merged(upkeep, 'next');
    await addSongs(live, 4, 6);
    await upkeep.catchUp();
    const second = await upkeep.mergeNext();

    expect(before!.graphs).toBeGreaterThan(SHARDS);
    expect(first).toBe(false);
    expect(after.graphs).toBe(SHARDS);
    expect(second).toBe(true);
    expect(await upkeep.takeOver(always)).toBe(true);
    expect((await upkeep.state()).live).toMatchObject({ references: 5, segments: 200 });
  });
});

describe('a rebuild of the index', () => {
  it('takes over with everything that was written before and meanwhile, and nothing that was removed', async () => {
    const settings = newSettings();
    const live = new OpenSearchCatalogue(client(), settings);
    await live.ensureIndex();
    await live.add('stays', segmentsOf(40, 1));
    await live.add('shrinks', segmentsOf(30, 2));
    await live.add('goes', segmentsOf(20, 3));
    const upkeep = await upkeepOf(settings);

    await upkeep.begin();
    await copyAll(upkeep);
    await live.add('comes', segmentsOf(25, 4));
    await live.remove('shrinks');
    await live.add('shrinks', segmentsOf(10, 5));
    await upkeep.remove('goes');
    const generation = (await live.stats()).generation;
    const tookOver = await upkeep.takeOver(always);

    expect(tookOver).toBe(true);
    const state = await upkeep.state();
    expect(state.live).toMatchObject({ index: `${live.alias}-000002`, references: 3, segments: 75 });
    expect(state.live!.generation).toBeGreaterThan(generation);
    expect(state.next).toBeUndefined();
    const { segments, vectors } = await live.exactVectorsOf('shrinks', 0, 99);
    expect(segments).toEqual(segmentsOf(10, 5).segments);
    expect(vectors[0]).toBeCloseTo(segmentsOf(10, 5).vectors[0]!, 2);
    const [[hit]] = (await live.search(segmentsOf(25, 4).vectors.subarray(0, DIMENSION), 1)) as [[object]];
    expect(hit).toMatchObject({ referenceId: 'comes', segment: 0 });
    await live.add('later', segmentsOf(5, 6));
    expect((await live.stats()).segments).toBe(80);
  });

  it('leaves everything as it is while the new index is not complete', async () => {
    const settings = newSettings();
    const live = new OpenSearchCatalogue(client(), settings);
    await live.ensureIndex();
    await live.add('song', segmentsOf(40, 1));
    const upkeep = await upkeepOf(settings);
    await upkeep.begin();
    await copyAll(upkeep);

    const tookOver = await upkeep.takeOver(async () => false);
    const failed = upkeep.takeOver(() => Promise.reject(new Error('not now')));

    await expect(failed).rejects.toThrow('not now');
    expect(tookOver).toBe(false);
    await live.add('another', segmentsOf(5, 2));
    expect(await upkeep.counts('next')).toEqual(new Map([['song', 40]]));
    expect(await upkeep.state()).toMatchObject({
      live: { index: `${live.alias}-000001`, segments: 45 },
      next: { index: `${live.alias}-000002`, segments: 40 },
    });
    await upkeep.catchUp();
    expect((await upkeep.counts('next')).get('another')).toBe(5);
  });

  it('takes over once, also when the answer is lost', async () => {
    const settings = newSettings();
    const live = new OpenSearchCatalogue(client(), settings);
    await live.ensureIndex();
    await live.add('song', segmentsOf(40, 1));
    const proxy = await FaultyProxy.before(inject('openSearchUrl'));
    onTestFinished(() => proxy.close());
    const upkeep = await upkeepOf(settings, proxy.url);
    await upkeep.begin();
    await copyAll(upkeep);
    const answers: number[] = [];
    proxy.fault = async ({ path, forward }) => {
      if (!path.startsWith('/_aliases')) return undefined;
      const answer = await forward();
      answers.push(answer.status);
      return answers.length === 1 ? 'hang up' : answer;
    };

    const tookOver = await upkeep.takeOver(always);

    expect(answers).toEqual([200, 404]);
    expect(tookOver).toBe(true);
    expect(await upkeep.state()).toMatchObject({ live: { index: `${live.alias}-000002`, segments: 40 } });
  });

  it('opens again what a run that died had closed', async () => {
    const settings = newSettings();
    const live = new OpenSearchCatalogue(client(), settings);
    await live.ensureIndex();
    const upkeep = await upkeepOf(settings);
    await upkeep.begin();
    await client().indices.addBlock({ index: `${live.alias}-000001`, block: 'write' });

    await upkeep.begin();

    await expect(live.add('song', segmentsOf(4, 1))).resolves.toBeUndefined();
  });

  it.each([
    ['none', 'byte'],
    ['byte', 'none'],
  ] as const)('holds vectors of encoder %s as %s from then on', async (before, after) => {
    const settings = newSettings();
    const old = new OpenSearchCatalogue(client(), { ...settings, encoder: before });
    await old.ensureIndex();
    await old.add('song', segmentsOf(40, 1));
    const upkeep = await upkeepOf({ ...settings, encoder: after });
    const catalogue = new OpenSearchCatalogue(client(), { ...settings, encoder: after });
    const query = segmentsOf(40, 1).vectors.subarray(7 * DIMENSION, 8 * DIMENSION);
    // Until then, everything would seem new to who asks on the wrong scale.
    await expect(catalogue.search(query, 1)).rejects.toThrow('400');
    expect(await upkeep.fits()).toBe(false);
    await expect(catalogue.add('another', segmentsOf(1, 2))).rejects.toThrow('strict_dynamic_mapping');

    await upkeep.begin();
    await copyAll(upkeep);
    await upkeep.takeOver(always);

    expect(await upkeep.fits()).toBe(true);
    const [[hit] = []] = await catalogue.search(query, 1);
    expect(hit!.segment).toBe(7);
    expect(hit!.similarity).toBeGreaterThan(0.98);
    expect(hit!.similarity).toBeLessThan(1.02);
  });

  it('fills an index in place of one that is lost, which nothing finds until it takes over', async () => {
    const settings = newSettings();
    const live = new OpenSearchCatalogue(client(), settings);
    const upkeep = await upkeepOf(settings);

    await upkeep.begin();
    const next = await upkeep.next();
    await next!.add('song', segmentsOf(40, 1));
    const beforehand = live.search(segmentsOf(1, 1).vectors, 1);

    await expect(beforehand).rejects.toThrow('index_not_found');
    expect(await upkeep.takeOver(always)).toBe(true);
    expect(await upkeep.state()).toMatchObject({ live: { index: `${live.alias}-000001`, segments: 40 } });
  });
});
