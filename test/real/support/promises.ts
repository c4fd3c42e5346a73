import { writeFileSync } from 'node:fs';
import { GetObjectCommand, ListObjectVersionsCommand } from '@aws-sdk/client-s3';
import { expect } from 'vitest';
import type { AwsClients } from '../../../functions/adapters/aws/clients.ts';
import { MediaDecoder } from '../../../functions/adapters/media/decoder.ts';
import { parseScanRequest } from '../../../functions/core/requests.ts';
import type { ObjectVersion } from '../../../functions/core/scan.ts';
import type { Page, PageRequest } from '../../../functions/ports/stores.ts';
import { temporaryFolder } from '../../support/audio.ts';
import { receiveAll } from './aws.ts';
import type { Deployment } from './deployment.ts';

/** What rounding and the last stretch of less than a hop may leave unsearched, ms. */
const TOLERANCE_MS = 1000;

/**
 * What holds whatever goes wrong: every upload has a verdict that everybody was told of, or lies in the dead letters; no
 * case is there twice; nothing is called clear of which a part was not searched.
 *
 * Looks from outside: at what lies in the buckets rather than at what scans know, and at how long an upload plays rather
 * than at how long its scan says it does. Takes the dead letters out of their queue.
 */
export async function expectPromisesKept(clients: AwsClients, deployment: Deployment): Promise<void> {
  const { stores, scanRequests } = deployment;
  const scans = await allOf((page) => stores.scans.list(page));
  const cases = await allOf((page) => stores.cases.list(page));
  const letters = await receiveAll(clients, scanRequests.deadLetters);

  const uploads = [...(await versionsIn(clients, deployment.uploads)), ...scans.map(({ upload }) => upload)];
  const ended = scans.filter(({ state, verdict, announced }) => state === 'done' && verdict && announced);
  const accountedFor = new Set(
    [...ended.map(({ upload }) => upload), ...letters.flatMap(parseScanRequest)].map(nameOf),
  );
  const lost = uploads.map(nameOf).filter((name) => !accountedFor.has(name));
  expect(lost, 'uploads with neither verdict nor dead letter').toEqual([]);

  const decided = cases.map(({ upload, detection }) => `${detection.referenceId} in ${nameOf(upload)}`);
  const again = decided.filter((what, i) => decided.indexOf(what) !== i);
  expect(again, 'cases that are there twice').toEqual([]);

  const clear = scans.filter(({ verdict }) => verdict === 'clear');
  for (const { upload, searchedMs = 0, unsearched } of clear) {
    const unheard = (await playingMs(clients, upload)) - searchedMs;
    expect({ unheard: unheard > TOLERANCE_MS, unsearched }, `${upload.key} is clear`).toEqual({
      unheard: false,
      unsearched: [],
    });
  }
}

const nameOf = ({ bucket, key, versionId }: ObjectVersion): string => `${bucket}/${key} (${versionId})`;

async function allOf<T>(list: (page: PageRequest) => Promise<Page<T>>): Promise<T[]> {
  const all: T[] = [];
  for (let after: string | undefined; ; ) {
    const { items, next } = await list({ limit: 1000, ...(after !== undefined && { after }) });
    all.push(...items);
    if (next === undefined) return all;
    after = next;
  }
}

async function versionsIn({ s3 }: AwsClients, bucket: string): Promise<ObjectVersion[]> {
  const { Versions = [], IsTruncated } = await s3.send(new ListObjectVersionsCommand({ Bucket: bucket }));
  expect(IsTruncated ?? false, 'more uploads than are looked at').toBe(false);
  return Versions.map(({ Key, VersionId }) => ({ bucket, key: Key!, versionId: VersionId! }));
}

/** By the content, of which many uploads may have the same. */
const played = new Map<string, Promise<number>>();

/** How long an upload plays, as a decoder says who has no part in its scan. */
function playingMs(clients: AwsClients, upload: ObjectVersion): Promise<number> {
  const content = upload.etag ?? nameOf(upload);
  const known = played.get(content) ?? decodedMs(clients, upload);
  played.set(content, known);
  return known;
}

async function decodedMs({ s3 }: AwsClients, { bucket, key, versionId }: ObjectVersion): Promise<number> {
  using folder = temporaryFolder();
  const { Body } = await s3.send(new GetObjectCommand({ Bucket: bucket, Key: key, VersionId: versionId }));
  const path = folder.file('upload');
  writeFileSync(path, await Body!.transformToByteArray());
  const audio = await new MediaDecoder().open(path, { sampleRate: 8000 });
  for await (const _ of audio.blocks);
  return (await audio.summary).durationMs;
}
