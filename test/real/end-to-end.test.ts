import { PutObjectCommand } from '@aws-sdk/client-s3';
import { beforeAll, describe, expect, it } from 'vitest';
import { awsClients, receiveAll } from './support/aws.ts';
import { type Deployment, deploy } from './support/deployment.ts';
import { eventually } from './support/eventually.ts';
import { encodeAudio, joined, music } from './support/music.ts';

// A file goes into a bucket, and everything after that is Refrain's: notifications, queues, bundled functions, index.

const clients = awsClients();
const song = music(60, 1);

const put = async (Bucket: string, Key: string, Body: Uint8Array | string) => {
  await clients.s3.send(new PutObjectCommand({ Bucket, Key, Body }));
};

describe('an upload to the uploads bucket', () => {
  let deployment: Deployment;

  beforeAll(async () => {
    deployment = await deploy(clients);
    await put(deployment.references, 'my song.flac', encodeAudio(song));
    await put(
      deployment.references,
      'my song.flac.json',
      JSON.stringify({ id: 'my-song', title: 'My song' }),
    );
  }, 120_000);

  const finished = (key: string) =>
    eventually(`the end of the scan of ${key}`, async () => {
      const { items } = await deployment.stores.scans.list();
      return items.find(({ upload, announced }) => upload.key === key && announced);
    });

  it('is preceded by a reference that the references bucket registered', async () => {
    const reference = await eventually('the registration', async () => {
      const { items } = await deployment.stores.references.list();
      return items.find(({ state }) => state === 'active');
    });

    expect(reference).toMatchObject({ source: { key: 'my song.flac' }, durationMs: 60_000 });
    expect(reference.segments).toBeGreaterThan(90);
  });

  it('that holds an excerpt becomes a case, a review message and an event', async () => {
    const excerpt = joined(music(10, 2), song.slice(20, 45), music(10, 3));

    await put(deployment.uploads, 'holds an excerpt+1.mp3', encodeAudio(excerpt, 'mp3'));
    const scan = await finished('holds an excerpt+1.mp3');

    const [message] = await receiveAll(clients, deployment.reviewQueue);
    const [event] = await receiveAll(clients, deployment.events);
    expect(scan.verdict).toBe('flagged');
    expect(scan.detections).toHaveLength(1);
    const { spans } = scan.detections[0]!;
    expect(Math.abs(spans[0]!.uploadStartMs - 10_000)).toBeLessThan(1500);
    expect(Math.abs(spans[0]!.referenceStartMs - 20_000)).toBeLessThan(1500);
    const { data } = JSON.parse(message!);
    expect(data).toMatchObject({ scanId: scan.scanId, upload: { key: 'holds an excerpt+1.mp3' } });
    expect(await deployment.stores.cases.get(data.caseId)).toMatchObject({
      state: 'open',
      scanId: scan.scanId,
    });
    expect(JSON.parse(event!)).toMatchObject({
      type: 'refrain.scan.finished.v1',
      data: { verdict: 'flagged' },
    });
  });
});
