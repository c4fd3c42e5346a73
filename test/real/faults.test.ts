import { InvokeCommand, PutFunctionConcurrencyCommand } from '@aws-sdk/client-lambda';
import { ScanCommand } from '@aws-sdk/lib-dynamodb';
import { afterEach, beforeEach, describe, expect, inject, it, onTestFinished } from 'vitest';
import { systemClock } from '../../functions/ports/clock.ts';
import { createRegisterHandler } from '../../functions/register/handler.ts';
import { createScanHandler } from '../../functions/scan/handler.ts';
import { forEachConcurrently } from '../../functions/steps/pool.ts';
import { OpenSearchServer } from './servers/opensearch.ts';
import { awsClients, countMessages, depthOf, putObject, receiveAll } from './support/aws.ts';
import {
  type Deployment,
  type DeploymentSettings,
  deploy as deployAnywhere,
  EMBED_CODE,
  finishedScan,
} from './support/deployment.ts';
import { eventually } from './support/eventually.ts';
import { busyUntil, FaultyProxy, REFUSED_ITEM } from './support/faulty-proxy.ts';
import { delivery, dependenciesOf, invocation } from './support/in-process.ts';
import { encodeAudio, joined, music, noise } from './support/music.ts';
import { expectPromisesKept } from './support/promises.ts';

// What can go wrong, made to go wrong on the genuine servers. What holds after each fault stands in support/promises.ts.

const clients = awsClients();
const song = music(60, 1);
const SONG = encodeAudio(song);
/** A minute with half a minute of the song in it. */
const UPLOAD = encodeAudio(joined(music(15, 2), song.slice(10, 40), music(15, 3)));

let openSearch: FaultyProxy;
let aws: FaultyProxy;
let deployments: Deployment[];

beforeEach(async () => {
  openSearch = await FaultyProxy.before(inject('openSearchUrl'));
  aws = await FaultyProxy.before(inject('awsUrl'));
  deployments = [];
});
afterEach(async () => {
  await openSearch.close();
  await aws.close();
  expect(deployments, 'deployments of a test').toHaveLength(1);
  await expectPromisesKept(clients, deployments[0]!);
});

async function deploy(settings?: DeploymentSettings): Promise<Deployment> {
  const deployment = await deployAnywhere(clients, settings);
  deployments.push(deployment);
  return deployment;
}

/** Deploys, and registers the song as `song` by this process. */
async function deployWithSong(settings: DeploymentSettings = {}): Promise<Deployment> {
  const deployment = await deploy(settings);
  const deps = await dependenciesOf(deployment, clients, settings.directOpenSearchUrl);
  await deps.catalogue.ensureIndex();
  const object = await putQuietly(deployment, 'song.flac', SONG);
  const registered = await createRegisterHandler(deps)(delivery(object));
  expect(registered.batchItemFailures).toEqual([]);
  return deployment;
}

/** Into the evidence bucket, which notifies nobody. */
const putQuietly = (deployment: Deployment, key: string, content: Uint8Array) =>
  putObject(clients, deployment.evidence, `quiet/${key}`, content);

/** One scan, one case, and the message that leads to it; however often it was told. */
async function expectFlaggedOnce(deployment: Deployment, messages: string[]): Promise<void> {
  const { items: scans } = await deployment.stores.scans.list();
  const { items: cases } = await deployment.stores.cases.list();
  expect(scans.map(({ verdict, announced }) => ({ verdict, announced }))).toEqual([
    { verdict: 'flagged', announced: true },
  ]);
  expect(cases).toHaveLength(1);
  const told = new Set(messages.map((message) => JSON.parse(message).data.caseId));
  expect([...told]).toEqual([cases[0]!.caseId]);
}

/** Until when a run holds the only scan that there is, ms. */
async function endOfClaim({ scansTable }: Deployment): Promise<number> {
  const { Items } = await clients.dynamo.send(
    new ScanCommand({ TableName: scansTable, ConsistentRead: true }),
  );
  return Items![0]!.claimedUntilMs;
}

const reviewMessages = (deployment: Deployment) => receiveAll(clients, deployment.reviewQueue);

describe('OpenSearch', () => {
  it('stopped in the middle of a scan and started again delays the verdict, and does not change it', async () => {
    const server = await OpenSearchServer.start();
    onTestFinished(() => server.dispose());
    const proxy = await FaultyProxy.before(server.url);
    onTestFinished(() => proxy.close());
    const deployment = await deployWithSong({ directOpenSearchUrl: server.url });
    const deps = await dependenciesOf(deployment, clients, proxy.url);
    const upload = await putQuietly(deployment, 'upload.flac', UPLOAD);
    let searches = 0;
    let restarted: Promise<void> | undefined;
    proxy.fault = async ({ path }) => {
      if (!path.includes('_msearch') || ++searches !== 2) return undefined;
      await server.stop('SIGKILL');
      restarted = server.restart();
      return 'hang up';
    };

    const scan = createScanHandler(deps);
    const first = await scan(delivery(upload), invocation('a run'));
    await restarted;
    // Where the server takes longer to come back than a call is patient, the queue delivers once more.
    if (first.batchItemFailures.length > 0) await scan(delivery(upload), invocation('another run'));

    expect(restarted).toBeDefined();
    await expectFlaggedOnce(deployment, await reviewMessages(deployment));
  }, 400_000);

  it('that answers 429 for a minute delays the verdict by that, over several deliveries', async () => {
    const deployment = await deployWithSong({
      openSearchUrl: openSearch.url,
      directOpenSearchUrl: inject('openSearchUrl'),
      environment: { REFRAIN_PATIENCE_SECONDS: '15' },
      maxReceives: 10,
    });
    const until = Date.now() + 60_000;
    openSearch.fault = busyUntil(until);

    await putObject(clients, deployment.uploads, 'upload.flac', UPLOAD);
    await finishedScan(deployment, 'upload.flac', 180_000);

    expect(Date.now()).toBeGreaterThan(until);
    await expectFlaggedOnce(deployment, await reviewMessages(deployment));
    expect(await depthOf(clients, deployment.scanRequests.deadLetters)).toBe(0);
  }, 300_000);

  it('that refuses some items of a bulk gets them again, and the reference is whole', async () => {
    const deployment = await deploy();
    const deps = await dependenciesOf(deployment, clients, openSearch.url);
    await deps.catalogue.ensureIndex();
    const before = await deps.catalogue.stats();
    // Of its own, since the index is everybody's.
    const other = music(60, 9);
    const object = await putQuietly(deployment, 'other.flac', encodeAudio(other));
    let bulks = 0;
    openSearch.fault = async ({ path, body, forward }) => {
      if (!path.includes('_bulk') || ++bulks > 1) return undefined;
      const lines = body.trim().split('\n');
      const answer = JSON.parse((await forward(`${lines.slice(0, 20).join('\n')}\n`)).body);
      const items = [...answer.items, ...Array(lines.length / 2 - 10).fill(REFUSED_ITEM)];
      return { status: 200, body: JSON.stringify({ ...answer, errors: true, items }) };
    };

    await createRegisterHandler(deps)(delivery(object));

    const [reference] = (await deployment.stores.references.list()).items;
    const after = await deps.catalogue.stats();
    expect(bulks).toBe(2);
    expect(reference).toMatchObject({ state: 'active' });
    expect(after.segments - before.segments).toBe(reference!.segments);
    const sound = encodeAudio(joined(noise(10), other.slice(10, 40), noise(10)));
    const upload = await putQuietly(deployment, 'upload.flac', sound);
    await createScanHandler(deps)(delivery(upload), invocation('a run'));
    await expectFlaggedOnce(deployment, await reviewMessages(deployment));
  }, 120_000);
});

describe('the embed function', () => {
  it.each([
    [
      'returns NaN',
      'answer.vectors = Buffer.from(new Float32Array(answer.segments * answer.dimension).fill(NaN).buffer).toString("base64");',
    ],
    ['returns the wrong number of vectors', 'answer.vectors = answer.vectors.slice(0, 128 * 16);'],
    ['runs into its time-out', 'await new Promise(() => setInterval(() => {}, 1000));'],
  ])(
    'that always %s leads to a dead letter and to no verdict',
    async (_, spoil) => {
      const embedCode = EMBED_CODE.replace('export { handler }', 'import { handler as real }');
      const deployment = await deploy({
        embedCode: `${embedCode} export const handler = async (event) => { const answer = await real(event); ${spoil} return answer; };`,
        embedTimeoutSeconds: 5,
        environment: { REFRAIN_PATIENCE_SECONDS: '2' },
        maxReceives: 2,
      });

      await putObject(clients, deployment.uploads, 'upload.flac', UPLOAD);
      await eventually(
        'the dead letter',
        async () => ((await depthOf(clients, deployment.scanRequests.deadLetters)) === 1 ? true : undefined),
        120_000,
      );

      const { items } = await deployment.stores.scans.list();
      expect(items.map(({ state, verdict }) => ({ state, verdict }))).toEqual([
        { state: 'scanning', verdict: undefined },
      ]);
      expect(await reviewMessages(deployment)).toEqual([]);
    },
    200_000,
  );

  it('that is throttled is asked again', async () => {
    const deployment = await deployWithSong({ awsUrl: aws.url });
    const FunctionName = deployment.functions.embed;
    const throttle = (ReservedConcurrentExecutions: number) =>
      clients.lambda.send(new PutFunctionConcurrencyCommand({ FunctionName, ReservedConcurrentExecutions }));
    await throttle(0);
    const refused = clients.lambda.send(new InvokeCommand({ FunctionName, Payload: '{"probe":"health"}' }));
    await expect(refused).rejects.toMatchObject({ name: 'TooManyRequestsException' });

    await putObject(clients, deployment.uploads, 'upload.flac', UPLOAD);
    await eventually('the second time that it is asked', async () => {
      const calls = aws.requests.filter(({ path }) => path.includes(`/functions/${FunctionName}/`));
      return calls.length >= 2 ? true : undefined;
    });
    await throttle(5);
    await finishedScan(deployment, 'upload.flac', 240_000);

    await expectFlaggedOnce(deployment, await reviewMessages(deployment));
  }, 400_000);
});

describe('the scan function', () => {
  it('killed between writing the case and sending the message sends it when it is called again', async () => {
    const scanTimeoutSeconds = 40;
    const deployment = await deployWithSong({
      awsUrl: aws.url,
      scanTimeoutSeconds,
      visibilitySeconds: scanTimeoutSeconds + 5,
    });
    let unanswered = 0;
    aws.fault = async ({ headers, body }) => {
      if (headers['x-amz-target'] !== 'AmazonSQS.SendMessage' || !body.includes('caseId')) return undefined;
      // The first run waits for an answer until Lambda ends it, which is shortly before its claim ends.
      if (Date.now() > (await endOfClaim(deployment))) return undefined;
      unanswered++;
      return 'silence';
    };

    await putObject(clients, deployment.uploads, 'upload.flac', UPLOAD);
    await eventually('the message that is not answered', async () => (unanswered > 0 ? true : undefined));
    const { items: casesBefore } = await deployment.stores.cases.list();
    const messagesBefore = await reviewMessages(deployment);
    await finishedScan(deployment, 'upload.flac', 240_000);

    expect(casesBefore).toHaveLength(1);
    expect(messagesBefore).toEqual([]);
    await expectFlaggedOnce(deployment, await reviewMessages(deployment));
  }, 600_000);

  it('called ten times at once with the same upload scans it once', async () => {
    const deployment = await deployWithSong();
    const upload = await putQuietly(deployment, 'upload.flac', UPLOAD);

    await Promise.all(
      Array.from({ length: 10 }, () =>
        clients.lambda.send(
          new InvokeCommand({
            FunctionName: deployment.functions.scan,
            Payload: JSON.stringify(delivery(upload)),
          }),
        ),
      ),
    );
    await finishedScan(deployment, upload.key, 240_000);
    await eventually(
      'the end of those who found it busy',
      async () => ((await depthOf(clients, deployment.scanRequests.url)) === 0 ? true : undefined),
      120_000,
    );

    const messages = await reviewMessages(deployment);
    await expectFlaggedOnce(deployment, messages);
    expect(new Set(messages.map((message) => JSON.parse(message).id)).size).toBe(1);
  }, 300_000);

  it('refused by a conditional write, since another run has the upload, comes back to it later', async () => {
    const deployment = await deployWithSong();
    const deps = await dependenciesOf(deployment, clients, openSearch.url);
    const upload = await putQuietly(deployment, 'upload.flac', UPLOAD);
    const scan = createScanHandler(deps);
    let late: ReturnType<typeof scan> | undefined;
    let delayed = 0;
    // In the middle of the first run, the message is delivered a second time.
    openSearch.fault = async ({ path }) => {
      if (!path.includes('_msearch') || late) return undefined;
      late = scan(delivery(upload), invocation('late'));
      await late;
      ({ delayed } = await countMessages(clients, deployment.scanRequests.url));
      return undefined;
    };

    await scan(delivery(upload), invocation('a run'));

    expect((await late)!.batchItemFailures).toEqual([]);
    expect(delayed).toBe(1);
    await expectFlaggedOnce(deployment, await reviewMessages(deployment));
  }, 120_000);

  it('told by clocks that are hours apart makes one case, whoever wins', async () => {
    const deployment = await deployWithSong();
    const upload = await putQuietly(deployment, 'upload.flac', UPLOAD);
    const slow = await dependenciesOf(deployment, clients, openSearch.url);
    const ahead = await dependenciesOf(deployment, clients);
    let secondRun: Promise<unknown> | undefined;
    // While the first run waits for its first answer, one whose clock is two hours ahead takes the scan away from it.
    openSearch.fault = async ({ path }) => {
      if (!path.includes('_msearch') || secondRun) return undefined;
      const clock = { now: () => new Date(Date.now() + 2 * 3_600_000) };
      secondRun = createScanHandler({ ...ahead, clock })(delivery(upload), invocation('ahead'));
      await secondRun;
      return undefined;
    };

    await createScanHandler({ ...slow, clock: systemClock })(delivery(upload), invocation('on time'));

    expect(secondRun).toBeDefined();
    await expectFlaggedOnce(deployment, await reviewMessages(deployment));
  }, 120_000);

  it('does not match a reference that is deleted meanwhile', async () => {
    const deployment = await deployWithSong();
    const deps = await dependenciesOf(deployment, clients, openSearch.url);
    const upload = await putQuietly(deployment, 'upload.flac', UPLOAD);
    const [reference] = (await deployment.stores.references.list()).items;
    let deleted = false;
    openSearch.fault = async ({ path }) => {
      // Its segments were found; now its vectors are asked for.
      if (!/_search/.test(path) || deleted) return undefined;
      deleted = true;
      await deployment.stores.references.delete(reference!.referenceId);
      await deps.catalogue.remove(reference!.referenceId);
      return undefined;
    };

    await createScanHandler(deps)(delivery(upload), invocation('a run'));

    expect(deleted).toBe(true);
    const [scan] = (await deployment.stores.scans.list()).items;
    expect(scan).toMatchObject({ state: 'done', announced: true, verdict: 'clear' });
    expect((await deployment.stores.cases.list()).items).toEqual([]);
  }, 120_000);

  it('ends a burst of uploads with a verdict on each, and a case for each that needs one', async () => {
    const uploads = Number(process.env.REFRAIN_BURST ?? 100);
    const deployment = await deployWithSong();
    // Of ten uploads, eight hold a part of the song, one holds nothing known, and one is no audio.
    const kinds = [...Array.from({ length: 8 }, (_, i) => song.slice(5 * i, 5 * i + 12)), music(4, 20)];
    const sounds = kinds.map((sound) => encodeAudio(sound, 'mp3'));
    const startedAt = performance.now();

    const numbers = Array.from({ length: uploads }, (_, i) => i);
    await forEachConcurrently(numbers, 16, async (i) => {
      await putObject(clients, deployment.uploads, `upload-${i}`, sounds[i % 10] ?? `text ${i}`);
    });
    const scans = await eventually(
      'the last verdict',
      async () => {
        // Counting is cheap; listing is not, and would slow down what it waits for.
        if ((await depthOf(clients, deployment.scanRequests.url)) > 0) return undefined;
        const { items } = await deployment.stores.scans.list({ limit: 1000 });
        return items.filter(({ announced }) => announced).length === uploads ? items : undefined;
      },
      uploads * 15_000,
    );
    console.log(`${uploads} uploads: ${((performance.now() - startedAt) / 1000).toFixed()} s`);

    const verdictOf = (i: number) => (i % 10 === 9 ? 'rejected' : i % 10 === 8 ? 'clear' : 'flagged');
    expect(Object.fromEntries(scans.map(({ upload, verdict }) => [upload.key, verdict]))).toEqual(
      Object.fromEntries(Array.from({ length: uploads }, (_, i) => [`upload-${i}`, verdictOf(i)])),
    );
    const flagged = scans.filter(({ verdict }) => verdict === 'flagged').map(({ scanId }) => scanId);
    const { items: cases } = await deployment.stores.cases.list({ limit: 1000 });
    expect(cases.map(({ scanId }) => scanId).sort()).toEqual(flagged.toSorted());
    const told = (await reviewMessages(deployment)).map((message) => JSON.parse(message).data.caseId);
    expect(new Set(told)).toEqual(new Set(cases.map(({ caseId }) => caseId)));
    expect(await depthOf(clients, deployment.scanRequests.deadLetters)).toBe(0);
  }, 4_000_000);
});
