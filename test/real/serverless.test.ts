import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, inject, it, onTestFinished } from 'vitest';
import { openDeployment } from '../../functions/adapters/aws/deployment.ts';
import { createOpenSearchClient } from '../../functions/adapters/aws/opensearch-client.ts';
import { ServerlessCatalogue } from '../../functions/adapters/aws/serverless-catalogue.ts';
import { segmentVectors } from '../contract/fixtures.ts';
import { OpenSearchServer } from './servers/opensearch.ts';
import { awsClients, putObject } from './support/aws.ts';
import { deploy, finishedScan } from './support/deployment.ts';
import { eventually } from './support/eventually.ts';
import { FaultyProxy } from './support/faulty-proxy.ts';
import { encodeAudio, joined, music } from './support/music.ts';
import { likeServerless } from './support/serverless-rules.ts';

// Serverless itself runs nowhere but in AWS. Here a genuine OpenSearch stands behind a door that lets through what
// Serverless would take, and finds what was written only when it gets to it. (The contract is in contract.test.ts.)

const DIMENSION = 32;

describe('ServerlessCatalogue', () => {
  let proxy: FaultyProxy;
  beforeEach(async () => {
    proxy = await FaultyProxy.before(inject('openSearchUrl'));
    proxy.fault = likeServerless;
  });
  afterEach(() => proxy.close());

  async function newCatalogue(settings = {}): Promise<ServerlessCatalogue> {
    const catalogue = new ServerlessCatalogue(
      createOpenSearchClient({ url: proxy.url, auth: { kind: 'none' } }),
      {
        modelId: randomUUID(),
        dimension: DIMENSION,
        engine: 'lucene',
        refreshInterval: '300ms',
        pollMs: 50,
        ...settings,
      },
    );
    await catalogue.ensureIndex();
    onTestFinished(async () => {
      const direct = createOpenSearchClient({ url: inject('openSearchUrl'), auth: { kind: 'none' } });
      await direct.indices.delete({ index: catalogue.name });
    });
    return catalogue;
  }

  it('leaves one copy of what was written twice, because the first answer was lost', async () => {
    const catalogue = await newCatalogue();
    let lost = 0;
    proxy.fault = async (request) => {
      if (!request.path.includes('_bulk') || lost++ > 0) return likeServerless(request);
      await request.forward();
      return 'hang up';
    };

    await catalogue.add('song', segmentVectors(20, DIMENSION, 1));

    expect(lost).toBeGreaterThan(1);
    expect(await catalogue.stats()).toMatchObject({ segments: 20, references: 1 });
  });

  it('sweeps up what a run left behind that died before it had swept', async () => {
    const catalogue = await newCatalogue();
    const song = segmentVectors(1500, DIMENSION, 1);
    let written = false;
    proxy.fault = (request) => {
      written ||= request.path.includes('_bulk');
      return written && request.path.includes('_search') ? 'hang up' : likeServerless(request);
    };
    await expect(newDying(catalogue).add('song', song)).rejects.toThrow('cannot be reached');
    proxy.fault = likeServerless;

    await catalogue.add('song', song);

    expect(await catalogue.stats()).toMatchObject({ segments: 1500, references: 1 });
    expect((await catalogue.vectorsOf('song', 990, 1010)).segments).toHaveLength(20);
  });

  /** The same index, by somebody who soon gives up. */
  const newDying = ({ name }: ServerlessCatalogue) =>
    new ServerlessCatalogue(createOpenSearchClient({ url: proxy.url, auth: { kind: 'none' } }), {
      modelId: name.replace('refrain-', ''),
      dimension: DIMENSION,
      engine: 'lucene',
      retry: { budgetMs: 200, baseMs: 10, capMs: 50 },
    });

  it('says so when what was written does not appear', async () => {
    const catalogue = await newCatalogue({ refreshInterval: '60s', patienceMs: 500 });

    await expect(catalogue.add('song', segmentVectors(3, DIMENSION, 1))).rejects.toThrow(
      'the segments of song cannot be seen after 0.5 s',
    );
  });
});

describe('a deployment on a Serverless collection', () => {
  it('registers and finds through its buckets, and says what it cannot do', async () => {
    const server = await OpenSearchServer.start();
    onTestFinished(() => server.dispose());
    const proxy = await FaultyProxy.before(server.url);
    onTestFinished(() => proxy.close());
    proxy.fault = likeServerless;
    const clients = awsClients();
    const deployment = await deploy(clients, {
      openSearchUrl: proxy.url,
      environment: { REFRAIN_OPENSEARCH_SERVICE: 'aoss' },
    });
    const song = music(60, 1);

    await putObject(clients, deployment.references, 'song.flac', encodeAudio(song));
    await eventually('the registration', async () => {
      const { items } = await deployment.stores.references.list();
      return items.find(({ state }) => state === 'active');
    });
    const upload = joined(music(15, 2), song.slice(10, 40), music(15, 3));
    await putObject(clients, deployment.uploads, 'upload.flac', encodeAudio(upload));
    const scan = await finishedScan(deployment, 'upload.flac');
    const { catalogue } = await openDeployment({
      stack: deployment.stack,
      region: 'us-east-1',
      endpoint: inject('awsUrl'),
    });

    expect(scan).toMatchObject({ verdict: 'flagged', detections: [{ action: 'review' }] });
    expect((await catalogue.state()).live).toMatchObject({ references: 1, merging: false });
    expect(await catalogue.merge()).toBe(false);
    await expect(catalogue.reindex(true)).rejects.toThrow(/cannot be made anew in place/);
  }, 400_000);
});
