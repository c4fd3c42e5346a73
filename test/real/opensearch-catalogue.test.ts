import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest';
import {
  OpenSearchCatalogue,
  type OpenSearchCatalogueSettings,
} from '../../functions/adapters/aws/opensearch-catalogue.ts';
import { createOpenSearchClient } from '../../functions/adapters/aws/opensearch-client.ts';
import { QUANTISED_ONE } from '../../functions/core/segments.ts';
import { busyUntil, FaultyProxy, REFUSED_ITEM } from './support/faulty-proxy.ts';

const DIMENSION = 32;
/** Enough for any machine: only a test that would fail anyway comes to its end. */
const PATIENT = { budgetMs: 60_000, baseMs: 10, capMs: 50 };

/** Unit vectors that depend on nothing but the seed. */
function unitVectors(rows: number, seed = 1): Float32Array {
  let state = seed;
  const random = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32 - 0.5;
  };
  const vectors = Float32Array.from({ length: rows * DIMENSION }, random);
  for (let row = 0; row < rows; row++) {
    const vector = vectors.subarray(row * DIMENSION, (row + 1) * DIMENSION);
    const length = Math.hypot(...vector);
    vector.forEach((value, i) => {
      vector[i] = value / length;
    });
  }
  return vectors;
}

const numbered = (rows: number) => Uint32Array.from({ length: rows }, (_, row) => row);

describe('OpenSearchCatalogue', () => {
  let proxy: FaultyProxy;

  beforeEach(async () => {
    proxy = await FaultyProxy.before(inject('openSearchUrl'));
  });
  afterEach(() => proxy.close());

  const catalogueAt = async (url: string, settings: Partial<OpenSearchCatalogueSettings> = {}) => {
    const catalogue = new OpenSearchCatalogue(createOpenSearchClient({ url, auth: { kind: 'none' } }), {
      modelId: randomUUID(),
      dimension: DIMENSION,
      engine: 'lucene',
      refreshInterval: '100ms',
      retry: PATIENT,
      ...settings,
    });
    await catalogue.ensureIndex();
    return catalogue;
  };

  it('holds vectors as bytes unless told otherwise, and finds them with nearly the same similarity', async () => {
    const catalogue = await catalogueAt(inject('openSearchUrl'));
    const vectors = unitVectors(50);
    await catalogue.add('song', { segments: numbered(50), vectors });

    const mapping = await fetch(`${inject('openSearchUrl')}/${catalogue.alias}/_mapping`);
    const hits = await catalogue.search(vectors, 2);
    const stored = await catalogue.vectorsOf('song', 0, 50);

    expect(await mapping.text()).toMatch(/"data_type":"byte"/i);
    expect(hits.map(([best]) => best!.segment)).toEqual([...numbered(50)]);
    expect(hits.every(([best]) => Math.abs(best!.similarity - 1) < 0.02)).toBe(true);
    expect(stored.vectors.every((value, i) => Math.abs(value / QUANTISED_ONE - vectors[i]!) < 0.01)).toBe(
      true,
    );
  });

  it('refuses an encoder that the engine does not have', () => {
    const client = createOpenSearchClient({ url: 'http://127.0.0.1:1', auth: { kind: 'none' } });
    const settings = { modelId: 'm', dimension: DIMENSION, engine: 'lucene', encoder: 'fp16' } as const;

    expect(() => new OpenSearchCatalogue(client, settings)).toThrow(/no fp16/);
  });

  it('names an engine in its mapping that the server has', async () => {
    // A faiss index without its native library ends the whole server at the first refresh.
    const catalogue = await catalogueAt(inject('openSearchUrl'));

    const response = await fetch(`${inject('openSearchUrl')}/${catalogue.alias}/_mapping`);

    expect(JSON.stringify(await response.json())).toContain('"engine":"lucene"');
  });

  it.each(['none', 'fp16', 'byte'] as const)(
    'has a mapping for faiss with encoder %s that the plugin accepts',
    async (encoder) => {
      // That it also searches in it takes the native library: it is only made, and nothing is written.
      const catalogue = await catalogueAt(inject('openSearchUrl'), { engine: 'faiss', encoder });

      const url = `${inject('openSearchUrl')}/${catalogue.alias}-000001`;
      const response = await fetch(`${url}/_mapping`);
      await fetch(url, { method: 'DELETE' });

      const answer = (await response.json()) as Record<string, { mappings: object }>;
      expect(Object.values(answer)[0]!.mappings).toMatchObject({
        properties: {
          [encoder === 'byte' ? 'vectorBytes' : 'vector']: {
            method: {
              engine: 'faiss',
              space_type: 'innerproduct',
              parameters: encoder === 'fp16' ? { encoder: { name: 'sq', parameters: { type: 'fp16' } } } : {},
            },
          },
        },
      });
    },
  );

  it('goes on searching and giving vectors while what lies beside them is removed', async () => {
    // Written at once, they share the files of a shard.
    const catalogue = await catalogueAt(inject('openSearchUrl'), {
      waitUntilFound: false,
      refreshInterval: '60s',
    });
    const names = Array.from({ length: 12 }, (_, i) => `song ${i}`);
    for (const [i, name] of names.entries()) {
      await catalogue.add(name, { segments: numbered(20), vectors: unitVectors(20, i + 1) });
    }
    const kept = unitVectors(20, 12);

    for (const name of names.slice(0, -1)) {
      await catalogue.remove(name);
      const { vectors } = await catalogue.exactVectorsOf('song 11', 0, 20);
      const hits = await catalogue.search(kept, 1);

      expect(vectors.every((value, i) => Math.abs(value - kept[i]!) < 0.005)).toBe(true);
      expect(hits.map(([best]) => best!.segment)).toEqual([...numbered(20)]);
    }
  });

  it('keeps references that are left out from using up the neighbours', async () => {
    const catalogue = await catalogueAt(inject('openSearchUrl'));
    const vectors = unitVectors(40);
    await catalogue.add('disabled', { segments: numbered(40), vectors });
    await catalogue.add('other', { segments: numbered(1), vectors: unitVectors(1, 7) });

    const [hits] = await catalogue.search(vectors.subarray(0, DIMENSION), 5, { except: ['disabled'] });

    expect(hits!.map(({ referenceId }) => referenceId)).toEqual(['other']);
  });

  it('asks for many queries in batches, and answers in their order', async () => {
    const catalogue = await catalogueAt(proxy.url, { queriesPerRequest: 50 });
    const vectors = unitVectors(230);
    await catalogue.add('song', { segments: numbered(230), vectors });

    const hits = await catalogue.search(vectors, 1);

    expect(hits.map(([best]) => best!.segment)).toEqual([...numbered(230)]);
    expect(proxy.requests.filter(({ path }) => path.includes('_msearch'))).toHaveLength(5);
  });

  it('says what to do when the index is missing, and does not take it for an empty catalogue', async () => {
    const client = createOpenSearchClient({ url: inject('openSearchUrl'), auth: { kind: 'none' } });
    const catalogue = new OpenSearchCatalogue(client, {
      modelId: randomUUID(),
      dimension: DIMENSION,
      engine: 'lucene',
      retry: PATIENT,
    });

    await expect(catalogue.search(unitVectors(1), 1)).rejects.toThrow(/set it up/);
    await expect(catalogue.add('song', { segments: numbered(1), vectors: unitVectors(1) })).rejects.toThrow(
      /set it up/,
    );
    await expect(catalogue.stats()).rejects.toThrow(/set it up/);
  });

  it('grows its generation with every change, and keeps it when nothing changes', async () => {
    const catalogue = await catalogueAt(inject('openSearchUrl'));
    const generations: number[] = [];
    const note = async () => generations.push((await catalogue.stats()).generation);

    await note();
    await catalogue.add('song', { segments: numbered(3), vectors: unitVectors(3) });
    await note();
    await catalogue.remove('song');
    await note();
    await note();

    const [empty, added, removed, again] = generations as [number, number, number, number];
    expect(added).toBeGreaterThan(empty);
    expect(removed).toBeGreaterThan(added);
    expect(again).toBe(removed);
  });

  it('outlasts a time of 429s', async () => {
    const catalogue = await catalogueAt(proxy.url);
    proxy.fault = busyUntil(Date.now() + 1000);

    await catalogue.add('song', { segments: numbered(3), vectors: unitVectors(3) });
    const [hits] = await catalogue.search(unitVectors(1), 1);

    expect(hits![0]).toMatchObject({ referenceId: 'song', segment: 0 });
  });

  it('gives up on 429s when the budget is spent, and finds nothing rather than half', async () => {
    const catalogue = await catalogueAt(proxy.url, { retry: { budgetMs: 300, baseMs: 10, capMs: 50 } });
    proxy.fault = busyUntil(Number.POSITIVE_INFINITY);

    await expect(catalogue.search(unitVectors(1), 1)).rejects.toThrow(
      /429 rejected_execution_exception: too busy/,
    );
  });

  it.each([
    ['is refused', { status: 429, error: { type: 'rejected_execution_exception', reason: 'queue is full' } }],
    ['lacks a shard', { status: 200, timed_out: false, _shards: { failed: 1 }, hits: { hits: [] } }],
    ['timed out half-way', { status: 200, timed_out: true, _shards: { failed: 0 }, hits: { hits: [] } }],
  ])('asks again for a query that %s, and only for that one', async (_, spoiled) => {
    const catalogue = await catalogueAt(proxy.url);
    const vectors = unitVectors(10);
    await catalogue.add('song', { segments: numbered(10), vectors });
    const queries: number[] = [];
    proxy.fault = async ({ path, body, forward }) => {
      if (!path.includes('_msearch')) return undefined;
      queries.push(body.trim().split('\n').length / 2);
      const answer = JSON.parse((await forward()).body);
      if (queries.length === 1) answer.responses[4] = spoiled;
      return { status: 200, body: JSON.stringify(answer) };
    };

    const hits = await catalogue.search(vectors, 1);

    expect(hits.map(([best]) => best!.segment)).toEqual([...numbered(10)]);
    expect(queries).toEqual([10, 1]);
  });

  it('writes the items again that a bulk refused, and only those', async () => {
    const catalogue = await catalogueAt(proxy.url);
    const items: number[] = [];
    proxy.fault = async ({ path, body, forward }) => {
      if (!path.includes('_bulk')) return undefined;
      const lines = body.trim().split('\n');
      items.push(lines.length / 2);
      if (items.length > 1) return undefined;
      // The third item never reaches the server.
      const answer = JSON.parse((await forward(`${lines.toSpliced(4, 2).join('\n')}\n`)).body);
      const spoiled = answer.items.toSpliced(2, 0, REFUSED_ITEM);
      return { status: 200, body: JSON.stringify({ errors: true, items: spoiled }) };
    };

    await catalogue.add('song', { segments: numbered(6), vectors: unitVectors(6) });

    expect(items).toEqual([6, 1]);
    expect((await catalogue.vectorsOf('song', 0, 10)).segments).toEqual(numbered(6));
  });

  it('does not repeat what the server will never take', async () => {
    const catalogue = await catalogueAt(proxy.url);
    proxy.fault = ({ path, forward, body }) =>
      path.includes('_bulk') ? forward(body.replaceAll('"segment":1,', '"segment":"one",')) : undefined;

    const adding = catalogue.add('song', { segments: numbered(3), vectors: unitVectors(3) });

    await expect(adding).rejects.toThrow(/1 items, first: 400 mapper_parsing_exception/);
    expect(proxy.requests.filter(({ path }) => path.includes('_bulk'))).toHaveLength(1);
  });

  it('survives connections that break', async () => {
    const catalogue = await catalogueAt(proxy.url);
    let broken = 0;
    proxy.fault = () => (broken++ < 3 ? 'hang up' : undefined);

    await catalogue.add('song', { segments: numbered(3), vectors: unitVectors(3) });

    expect((await catalogue.stats()).segments).toBe(3);
  });

  it('signs its requests for a managed domain', async () => {
    let authorization: string | undefined;
    const server = createServer((request, response) => {
      authorization = request.headers.authorization;
      response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
    }).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const url = `http://127.0.0.1:${(server.address() as { port: number }).port}`;
    process.env.AWS_ACCESS_KEY_ID = 'test';
    process.env.AWS_SECRET_ACCESS_KEY = 'test';
    const client = createOpenSearchClient({
      url,
      auth: { kind: 'sigv4', region: 'eu-west-1', service: 'es' },
    });

    await client.info();
    server.closeAllConnections();
    server.close();

    expect(authorization).toMatch(/^AWS4-HMAC-SHA256 Credential=test\/\d{8}\/eu-west-1\/es\/aws4_request/);
  });
});
