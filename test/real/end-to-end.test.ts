import { DeleteMessageCommand, ReceiveMessageCommand, SendMessageCommand } from '@aws-sdk/client-sqs';
import { beforeAll, describe, expect, it } from 'vitest';
import { awsClients, depthOf, putObject, receiveAll } from './support/aws.ts';
import { type Deployment, deploy, EMBED_CODE, finishedScan } from './support/deployment.ts';
import { eventually } from './support/eventually.ts';
import { replaceCode } from './support/functions.ts';
import { encodeAudio, joined, type Music, music, noise } from './support/music.ts';

// A file goes into a bucket, and everything after that is Refrain's: notifications, queues, bundled functions, index.

const clients = awsClients();
const song = music(60, 1);

describe('an upload to the uploads bucket', () => {
  let deployment: Deployment;

  beforeAll(async () => {
    deployment = await deploy(clients);
    await putObject(clients, deployment.references, 'my song.flac', encodeAudio(song));
    await eventually('the registration', async () => {
      const { items } = await deployment.stores.references.list();
      return items.find(({ state }) => state === 'active');
    });
  }, 240_000);

  it('is preceded by references that were registered the same way, with what a sidecar says', async () => {
    const sidecar = { id: 'other-song', title: 'Other song', owner: 'a label' };
    await putObject(clients, deployment.references, 'other.mp3.json', JSON.stringify(sidecar));
    await putObject(clients, deployment.references, 'other.mp3', encodeAudio(music(20, 7), 'mp3'));

    const reference = await eventually('the registration', async () => {
      const found = await deployment.stores.references.get('other-song');
      return found?.state === 'active' ? found : undefined;
    });

    expect(reference).toMatchObject({ title: 'Other song', owner: 'a label', source: { key: 'other.mp3' } });
    expect(reference.segments).toBeGreaterThan(20);
  });

  it('that holds an excerpt becomes a case, a review message and an event', async () => {
    const excerpt = joined(noise(10), song.slice(20, 45), noise(10));
    const key = 'holds an excerpt+1 (é).mp3';

    await putObject(clients, deployment.uploads, key, encodeAudio(excerpt, 'mp3'));
    const scan = await finishedScan(deployment, key);

    const [message] = await receiveAll(clients, deployment.reviewQueue);
    const event = await eventually(
      'the event',
      async () => (await receiveAll(clients, deployment.events))[0],
    );
    expect(scan.verdict).toBe('flagged');
    expect(scan.detections).toHaveLength(1);
    const { spans } = scan.detections[0]!;
    expect(Math.abs(spans[0]!.uploadStartMs - 10_000)).toBeLessThan(1000);
    expect(Math.abs(spans[0]!.referenceStartMs - 20_000)).toBeLessThan(1000);
    const { data } = JSON.parse(message!);
    expect(data).toMatchObject({ scanId: scan.scanId, upload: { key } });
    expect(await deployment.stores.cases.get(data.caseId)).toMatchObject({
      state: 'open',
      scanId: scan.scanId,
    });
    expect(JSON.parse(event)).toMatchObject({
      type: 'refrain.scan.finished.v1',
      data: { verdict: 'flagged' },
    });
  });

  it.each([
    ['that holds nothing known is clear', 'new.flac', () => encodeAudio(music(20, 4)), 'clear'],
    ['that is no audio is rejected, and not tried again', 'text.mp3', () => 'not audio at all', 'rejected'],
    ['that ends too soon is not called clear', 'cut.flac', () => firstHalf(music(20, 8)), 'incomplete'],
  ])('%s', async (_, key, content, verdict) => {
    await putObject(clients, deployment.uploads, key, content());

    const scan = await finishedScan(deployment, key);

    expect(scan.verdict).toBe(verdict);
    expect(await receiveAll(clients, deployment.reviewQueue)).toEqual([]);
    await eventually('the end of the message', async () =>
      (await depthOf(clients, deployment.scanRequests.url)) === 0 ? true : undefined,
    );
    expect(await depthOf(clients, deployment.scanRequests.deadLetters)).toBe(0);
  });
});

describe('a batch with a message that cannot be handled', () => {
  it('fails for that message alone, which ends in the dead letters', async () => {
    const deployment = await deploy(clients, { batchSize: 10, maxReceives: 2 });
    const { url, deadLetters } = deployment.scanRequests;

    await clients.sqs.send(new SendMessageCommand({ QueueUrl: url, MessageBody: 'nobody understands this' }));
    await putObject(clients, deployment.uploads, 'good.flac', encodeAudio(music(10, 5)));

    const scan = await finishedScan(deployment, 'good.flac');
    const dead = await eventually('the dead letter', async () => {
      const bodies = await receiveAll(clients, deadLetters);
      return bodies.length > 0 ? bodies : undefined;
    });
    expect(scan.verdict).toBe('clear');
    expect(dead).toEqual(['nobody understands this']);
    expect(await depthOf(clients, url)).toBe(0);
  });
});

describe('an upload that could not be scanned', () => {
  it('waits in the dead letters without a verdict, and is scanned when it is given back', async () => {
    const deployment = await deploy(clients, {
      maxReceives: 2,
      embedCode: `export const handler = () => { throw new Error('broken deployment'); };`,
      environment: { REFRAIN_PATIENCE_SECONDS: '1' },
    });
    const { url, deadLetters } = deployment.scanRequests;
    await putObject(clients, deployment.uploads, 'unlucky.flac', encodeAudio(music(10, 6)));

    await eventually('the dead letter', async () =>
      (await depthOf(clients, deadLetters)) === 1 ? true : undefined,
    );
    const [before] = (await deployment.stores.scans.list()).items;
    await replaceCode(clients, deployment.functions.embed, { 'lambda.mjs': EMBED_CODE });
    await redrive(deadLetters, url);
    const scan = await finishedScan(deployment, 'unlucky.flac');

    expect(before).toMatchObject({ state: 'scanning' });
    expect(before!.verdict).toBeUndefined();
    expect(scan).toMatchObject({ scanId: before!.scanId, verdict: 'clear' });
  });
});

/** A file that broke off while it was sent. */
function firstHalf(sound: Music): Uint8Array {
  const file = encodeAudio(sound);
  return file.subarray(0, file.length / 2);
}

/** What SQS's own redrive does; ministack lacks it. */
async function redrive(from: string, to: string): Promise<void> {
  for (;;) {
    const { Messages } = await clients.sqs.send(
      new ReceiveMessageCommand({ QueueUrl: from, WaitTimeSeconds: 0 }),
    );
    if (!Messages?.length) return;
    for (const { Body, ReceiptHandle } of Messages) {
      await clients.sqs.send(new SendMessageCommand({ QueueUrl: to, MessageBody: Body }));
      await clients.sqs.send(new DeleteMessageCommand({ QueueUrl: from, ReceiptHandle }));
    }
  }
}
