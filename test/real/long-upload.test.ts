import { ListObjectsV2Command, ListObjectVersionsCommand } from '@aws-sdk/client-s3';
import { ScanCommand } from '@aws-sdk/lib-dynamodb';
import { describe, expect, it } from 'vitest';
import { DEFAULT_SCAN_SETTINGS } from '../../functions/scan/dependencies.ts';
import { createScanHandler } from '../../functions/scan/handler.ts';
import { awsClients, depthOf, putObject } from './support/aws.ts';
import { type Deployment, deploy, finishedScan } from './support/deployment.ts';
import { eventually } from './support/eventually.ts';
import { delivery, dependenciesOf } from './support/in-process.ts';
import { encodeAudio, encodePart, joined, music, noise, playingMs } from './support/music.ts';

// A function may run for so long and no longer; an upload may take longer than that.

const clients = awsClients();
const song = music(60, 1);

async function deployWithSong(settings = {}): Promise<Deployment> {
  const deployment = await deploy(clients, settings);
  await putObject(clients, deployment.references, 'song.flac', encodeAudio(song));
  await eventually('the registration', async () => {
    const { items } = await deployment.stores.references.list();
    return items.find(({ state }) => state === 'active');
  });
  return deployment;
}

describe('a run that has too little time left', () => {
  it('hands over to another one, which goes on from the next window', async () => {
    const deployment = await deployWithSong();
    const deps = { ...(await dependenciesOf(deployment, clients)), settings: DEFAULT_SCAN_SETTINGS };
    const sound = joined(music(170, 2), song.slice(10, 40), music(160, 3));
    const key = 'quiet/long.flac';
    const upload = await putObject(clients, deployment.evidence, key, encodeAudio(sound));
    // Time flies by 10 s with every window: three of six are heard before 20 s are left.
    let asked = 0;
    const hasty = { awsRequestId: 'hasty', getRemainingTimeInMillis: () => 50_000 - 10_000 * asked++ };

    await createScanHandler(deps)(delivery(upload), hasty);
    const [before] = (await deployment.stores.scans.list()).items;
    const scan = await finishedScan(deployment, key);

    expect(before).toMatchObject({ state: 'scanning' });
    expect(scan).toMatchObject({ scanId: before!.scanId, verdict: 'flagged', durationMs: 360_000 });
    expect(scan.detections).toHaveLength(1);
    expect(Math.abs(scan.detections[0]!.spans[0]!.uploadStartMs - 170_000)).toBeLessThan(5000);
    // Six windows and the end of the file were stored, each by one run only.
    const { Versions = [] } = await clients.s3.send(
      new ListObjectVersionsCommand({ Bucket: deployment.evidence, Prefix: 'scans/' }),
    );
    expect(Versions).toHaveLength(7);
    expect(new Set(Versions.map(({ Key }) => Key)).size).toBe(7);
  });
});

describe('an upload of hours', () => {
  /** Half an hour by default; `REFRAIN_HOURS=12 npm run test:real -- test/real/long-upload.test.ts` for half a day. */
  const hours = Number(process.env.REFRAIN_HOURS ?? 0.5);
  const patienceMs = 180_000 + hours * 300_000;

  it(
    'is scanned by functions that may run for a minute, and comes out as one scan',
    async () => {
      const deployment = await deployWithSong({ scanTimeoutSeconds: 60, visibilitySeconds: 70 });
      const bed = encodePart(music(300, 5));
      const hiss = encodePart(noise(10));
      const before = Buffer.concat([...Array(Math.round(hours * 12) - 1).fill(bed), hiss]);
      // Near the end, so that it is only found if the scan comes that far.
      const file = Buffer.concat([before, encodePart(song.slice(10, 50)), hiss, bed]);
      console.log(`${hours} h, ${(file.length / 1e6).toFixed()} MB, by runs of at most 60 s:`);

      await putObject(clients, deployment.uploads, 'long.mp3', file);
      await tellOfRunsUntilDone(deployment);

      const [scan, ...others] = (await deployment.stores.scans.list()).items;
      expect(others).toEqual([]);
      expect(scan).toMatchObject({ state: 'done', announced: true, verdict: 'flagged' });
      expect(Math.abs(scan!.durationMs! - playingMs(file))).toBeLessThan(1000);
      expect(scan!.durationMs! - scan!.searchedMs!).toBeLessThan(3000);
      const { uploadStartMs } = scan!.detections[0]!.spans[0]!;
      expect(Math.abs(uploadStartMs - playingMs(before))).toBeLessThan(5000);
      expect((await deployment.stores.cases.list()).items).toHaveLength(1);
      expect(await depthOf(clients, deployment.scanRequests.deadLetters)).toBe(0);
    },
    3 * patienceMs,
  );

  /** Prints when each run took up the only scan, and how many windows were stored by then. */
  async function tellOfRunsUntilDone(deployment: Deployment): Promise<void> {
    const startedAt = performance.now();
    const tell = (what: string) =>
      console.log(`${((performance.now() - startedAt) / 1000).toFixed().padStart(6)} s: ${what}`);
    const runs: string[] = [];
    await eventually(
      'the verdict',
      async () => {
        if ((await depthOf(clients, deployment.scanRequests.deadLetters)) > 0) {
          throw new Error('the upload lies in the dead letters');
        }
        const { Items } = await clients.dynamo.send(new ScanCommand({ TableName: deployment.scansTable }));
        const [item] = Items!;
        if (!item) return undefined;
        const { announced } = JSON.parse(item.record);
        if (item.claimedBy && !announced && item.claimedBy !== runs.at(-1)) {
          runs.push(item.claimedBy);
          const { KeyCount } = await clients.s3.send(
            new ListObjectsV2Command({ Bucket: deployment.evidence, Prefix: 'scans/' }),
          );
          tell(`run ${runs.length} goes on from window ${KeyCount}`);
        }
        return announced ? true : undefined;
      },
      patienceMs,
    );
    tell('verdict');
  }
});
