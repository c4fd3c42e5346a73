import { copyFileSync, mkdirSync, utimesSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { CloudWatchClient, PutMetricDataCommand } from '@aws-sdk/client-cloudwatch';
import { ListRulesCommand, ListTargetsByRuleCommand } from '@aws-sdk/client-eventbridge';
import { SendMessageCommand } from '@aws-sdk/client-sqs';
import { afterAll, beforeAll, describe, expect, inject, it, onTestFinished } from 'vitest';
import { createOpenSearchClient } from '../../functions/adapters/aws/opensearch-client.ts';
import { METRICS } from '../../functions/constants.ts';
import { CatalogueState } from '../../functions/core/catalogue-state.ts';
import type { Cost, Usage } from '../../functions/core/cost.ts';
import { objectCreated } from '../../functions/core/requests.ts';
import type { ScanRecord } from '../../functions/core/scan.ts';
import { begunAnew } from '../../functions/steps/replay.ts';
import { temporaryFolder } from '../support/audio.ts';
import { type CliResult, runCli, startCli } from '../support/cli.ts';
import { awsClients, depthOf } from './support/aws.ts';
import { type Deployment, deploy } from './support/deployment.ts';
import { eventually } from './support/eventually.ts';
import { FaultyProxy } from './support/faulty-proxy.ts';
import { encodeAudio, joined, music } from './support/music.ts';

// The real command line, as a process of its own, on stacks that were deployed as they are synthesised. Everything it
// knows of them it reads from their outputs.

const clients = awsClients();
const folder = temporaryFolder();
afterAll(() => folder.remove());

/** What an operator has in the environment. */
const environment = () => ({
  AWS_ENDPOINT_URL: inject('awsUrl'),
  AWS_REGION: 'us-east-1',
  AWS_ACCESS_KEY_ID: 'test',
  AWS_SECRET_ACCESS_KEY: 'test',
});

const song = music(60, 101);
const songFile = folder.file('my song.flac');
const uploadFile = folder.file('upload+1 (é).mp3');
const otherFile = folder.file('other.flac');

describe('the command line on a deployment', () => {
  let deployment: Deployment;

  const refrain = (...args: string[]): Promise<CliResult> =>
    runCli([...args, '--stack', deployment.stack], { env: environment() });

  const catalogue = async (): Promise<CatalogueState> => {
    const [status] = (await refrain('aws', 'status', '--jsonl')).lines();
    return CatalogueState.parse(status!.catalogue);
  };

  /** As the functions count, and CloudWatch reads it from their logs. */
  const measured = (MetricName: string, Value: number) =>
    new CloudWatchClient({ region: 'us-east-1', endpoint: inject('awsUrl') }).send(
      new PutMetricDataCommand({
        Namespace: METRICS.namespace,
        MetricData: [{ MetricName, Value, Dimensions: [{ Name: 'service', Value: deployment.stack }] }],
      }),
    );

  beforeAll(async () => {
    writeFileSync(songFile, encodeAudio(song));
    writeFileSync(uploadFile, encodeAudio(joined(music(10, 102), song.slice(20, 45), music(10, 103)), 'mp3'));
    writeFileSync(otherFile, encodeAudio(music(20, 104)));
    deployment = await deploy(clients, { maxReceives: 1 });
  }, 240_000);

  it('registers a file with what is said of it', async () => {
    const { code, lines, stderr } = await refrain(
      ...['register', songFile, '--id', 'my-song', '--owner', 'Night Label', '--jsonl'],
    );

    expect(stderr).toBe('');
    expect(lines()).toMatchObject([{ outcome: 'admitted', referenceId: 'my-song', state: 'active' }]);
    expect(code).toBe(0);
    expect(await deployment.stores.references.get('my-song')).toMatchObject({
      owner: 'Night Label',
      source: { bucket: deployment.references },
    });
  });

  it('knows what is registered, and brings what is said of it up to date', async () => {
    const same = await refrain('register', songFile, '--id', 'my-song', '--jsonl');
    const renamed = await refrain('register', songFile, '--id', 'my-song', '--owner', 'Day Label', '--jsonl');

    expect(same.lines()).toMatchObject([{ outcome: 'existing' }]);
    expect(renamed.lines()).toMatchObject([{ outcome: 'updated', changed: ['owner'] }]);
    expect(await deployment.stores.references.get('my-song')).toMatchObject({ owner: 'Day Label' });
  });

  it('says why a recording was refused', async () => {
    const noise = folder.file('noise.mp3');
    writeFileSync(noise, 'not audio at all');

    const { code, lines } = await refrain('register', noise, '--jsonl');
    const again = await refrain('register', noise, '--jsonl');

    expect(lines()).toMatchObject([
      { outcome: 'refused', state: 'refused', reasons: [{ code: 'NOT_MEDIA' }] },
    ]);
    expect(code).toBe(1);
    expect(again.lines()).toMatchObject([{ outcome: 'refused' }]);
  });

  it('finds it in an upload, as on one machine', async () => {
    const { code, lines } = await refrain('scan', uploadFile, otherFile, '--jsonl');

    expect(code).toBe(3);
    const [flagged, clear] = lines().toSorted((a, b) => String(b.verdict).localeCompare(String(a.verdict)));
    expect(clear).toMatchObject({ path: otherFile, verdict: 'clear', detections: [] });
    expect(flagged).toMatchObject({
      path: uploadFile,
      verdict: 'flagged',
      model: 'refrain-fp-1',
      detections: [{ referenceId: 'my-song', action: 'review' }],
    });
  });

  it('tells people of a verdict that is known already, and clear files by exit code 0', async () => {
    const { code, stdout } = await refrain('scan', otherFile);

    expect(code).toBe(0);
    expect(stdout).toMatch(/clear.*other\.flac/);
    expect(stdout).toContain('from an earlier scan');
  });

  it('scans anew when it is asked to', async () => {
    const [before] = (await refrain('scans', '--jsonl', '--verdict', 'clear')).lines();

    const { code } = await refrain('scan', otherFile, '--again');

    const [after] = (await refrain('scans', '--jsonl', '--verdict', 'clear')).lines();
    expect(code).toBe(0);
    expect(after!.scanId).toBe(before!.scanId);
    expect(String(after!.finishedAt) > String(before!.finishedAt)).toBe(true);
  });

  it('lists references, scans and cases, and writes decisions', async () => {
    const references = (await refrain('references', '--jsonl')).lines();
    const scans = (await refrain('scans', '--jsonl')).lines();
    const [open] = (await refrain('cases', '--state', 'open', '--jsonl')).lines();

    const decided = await refrain('decide', String(open!.caseId), 'confirm', '--reason', 'same master');
    const left = await refrain('cases', '--state', 'open', '--jsonl');

    expect(references.map(({ referenceId }) => referenceId)).toContain('my-song');
    expect(scans.map(({ verdict }) => verdict).toSorted()).toEqual(['clear', 'flagged']);
    expect(decided).toMatchObject({ code: 0, stdout: expect.stringContaining('closed') });
    expect(left.lines()).toEqual([]);
    expect(await deployment.stores.cases.get(String(open!.caseId))).toMatchObject({
      state: 'closed',
      decisions: [{ decision: 'confirm', reason: 'same master' }],
    });
  });

  it('shows dead letters and scans that wait, and gives the letters back to their queue', async () => {
    const { url, deadLetters } = deployment.scanRequests;
    const [clear] = (
      await refrain('scans', '--jsonl', '--verdict', 'clear')
    ).lines() as unknown as ScanRecord[];
    await deployment.stores.scans.put({ ...begunAnew(clear!, clear!.model, new Date(0)) });
    // One that nobody will ever understand, and one that will do.
    for (const MessageBody of ['nobody understands this', objectCreated(clear!.upload)]) {
      await clients.sqs.send(new SendMessageCommand({ QueueUrl: deadLetters, MessageBody }));
    }

    const status = await refrain('aws', 'status', '--jsonl');
    const redriven = await refrain('aws', 'redrive', '--jsonl');
    const scan = await eventually('the scan', async () => {
      const found = await deployment.stores.scans.get(clear!.scanId);
      return found?.state === 'done' ? found : undefined;
    });
    await eventually('the dead letter', async () =>
      (await depthOf(clients, url)) === 0 && (await depthOf(clients, deadLetters)) === 1 ? true : undefined,
    );

    expect(status.code).toBe(0);
    expect(status.lines()[0]).toMatchObject({
      stack: deployment.stack,
      queues: expect.arrayContaining([
        expect.objectContaining({ queue: 'scanRequests', dead: 2, waiting: 0 }),
      ]),
      catalogue: { live: { index: expect.stringMatching(/-\d{6}$/) } },
      scans: { unfinished: 1, scans: [{ scanId: clear!.scanId, stuck: true }] },
    });
    expect(redriven.code).toBe(0);
    expect(redriven.lines()).toContainEqual({ queue: 'scanRequests', moved: 2 });
    expect(scan.verdict).toBe('clear');
    expect((await refrain('aws', 'status')).stdout).toMatch(/scanRequests +0 +0 +0 +\S+ +1\n/);
  });

  it('scans an upload again by the id of its scan, and says how to follow it', async () => {
    const [before] = (await refrain('scans', '--jsonl', '--verdict', 'flagged')).lines();

    const { code, stdout } = await refrain('aws', 'replay', String(before!.scanId));
    const after = await eventually('the scan', async () => {
      const scan = await deployment.stores.scans.get(String(before!.scanId));
      return scan?.announced ? scan : undefined;
    });

    expect(code).toBe(0);
    expect(stdout).toContain(`refrain scans show ${before!.scanId} --stack ${deployment.stack}`);
    expect(after).toMatchObject({ verdict: 'flagged', upload: before!.upload });
    expect(after.finishedAt! > String(before!.finishedAt)).toBe(true);
    // It was decided on before.
    expect((await refrain('cases', '--state', 'open', '--jsonl')).lines()).toEqual([]);
  });

  it('does not replay what it does not know', async () => {
    const { code, stderr } = await refrain('aws', 'replay', 'scan_nobody');

    expect(code).toBe(1);
    expect(stderr).toMatch(/^refrain: there is no scan scan_nobody/);
  });

  it('makes the index anew from the one that is there', async () => {
    const before = await catalogue();

    const { code, lines } = await refrain('aws', 'reindex', '--jsonl');

    expect(code).toBe(0);
    expect(lines().at(-1)).toMatchObject({ phase: 'done', live: { references: 1 } });
    const after = await catalogue();
    expect(numberOf(after.live!.index)).toBe(numberOf(before.live!.index) + 1);
    expect(after.next).toBeUndefined();
    expect((await refrain('scan', uploadFile, '--jsonl')).lines()).toMatchObject([
      { verdict: 'flagged', detections: [{ referenceId: 'my-song' }] },
    ]);
  });

  it('calls nothing clear while the index is lost, waits as long as it is told to, and ends with Ctrl-C', async () => {
    const { live } = await catalogue();
    const openSearch = createOpenSearchClient({ url: deployment.openSearchUrl, auth: { kind: 'none' } });
    await openSearch.indices.delete({ index: live!.index });

    const short = await refrain('scan', uploadFile, '--wait', '0.05', '--jsonl');
    const long = startCli(['scan', uploadFile, '--stack', deployment.stack], { env: environment() });
    await long.noted(/is empty/);
    long.process.kill('SIGINT');
    const stopped = await long.result;

    expect(short.code).toBe(1);
    expect(short.lines()).toMatchObject([{ verdict: 'incomplete', reason: { code: 'NOT_FINISHED' } }]);
    expect(stopped).toMatchObject({ code: 130, stdout: '' });
    expect(stopped.stderr).toContain('the same command goes on from there');
  });

  it('makes the index anew from the recordings when it is lost', async () => {
    const lost = await catalogue();

    const { code, lines, stderr } = await refrain('aws', 'reindex', '--jsonl');

    expect(lost.live).toBeUndefined();
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(lines().at(-1)).toMatchObject({ phase: 'done', live: { references: 1 } });
    expect((await refrain('scan', uploadFile, '--jsonl')).lines()).toMatchObject([
      { verdict: 'flagged', detections: [{ referenceId: 'my-song' }] },
    ]);
  });

  it('says what it costs, by the records of scans and by what was measured', async () => {
    const [byRecords] = (await refrain('aws', 'cost', '--jsonl')).lines() as unknown as CostReport[];
    await measured('SearchedMilliseconds', 3_600_000 * 500);
    await measured('ScansClear', 10_000);

    const [byMetrics] = (
      await refrain('aws', 'cost', '--days', '10', '--jsonl')
    ).lines() as unknown as CostReport[];
    const { code, stdout } = await refrain('aws', 'cost', '--days', '10');

    // The other one was begun in 1970.
    expect(byRecords).toMatchObject({ known: 'records', usage: { days: 7, uploads: 1 } });
    expect(byRecords!.usage.searchedHours * 3600).toBeGreaterThan(40);
    expect(byRecords!.lines).toContainEqual(expect.objectContaining({ what: 'Lambda', basis: 'measured' }));
    expect(byRecords!.usage.lambda!.gigabyteSeconds).toBeGreaterThan(0.1);
    expect(byMetrics).toMatchObject({ known: 'metrics', usage: { uploads: 10_000, searchedHours: 500 } });
    expect(code).toBe(0);
    expect(stdout).toContain('10,000 uploads with 500 hours in the last 10 days (as CloudWatch measured)');
    expect(stdout).toMatch(/1,000 scanned hours cost \d/);
  });

  it('merges the graphs that registrations leave, on request and when the night asks for it', async () => {
    const scheduled = await requestOfTheNight(deployment);
    const register = async (id: string, seed: number) => {
      const file = folder.file(`${id}.flac`);
      writeFileSync(file, encodeAudio(music(20, seed)));
      expect((await refrain('register', file, '--id', id)).code).toBe(0);
      return (await catalogue()).live!.graphs;
    };

    const graphs = await register('second', 111);
    const merged = await refrain('aws', 'merge', '--jsonl');
    const graphsAgain = await register('third', 112);
    await clients.sqs.send(
      new SendMessageCommand({ QueueUrl: deployment.registerRequests.url, MessageBody: scheduled }),
    );
    await eventually('the end of merging', async () =>
      (await catalogue()).live!.graphs === 1 ? true : undefined,
    );
    const nothingToDo = await refrain('aws', 'merge');

    expect(graphs).toBeGreaterThan(1);
    expect(merged.lines().at(-1)).toMatchObject({ begun: true, live: { graphs: 1, merging: false } });
    expect(merged).toMatchObject({ code: 0, stderr: '' });
    expect(graphsAgain).toBeGreaterThan(1);
    expect(nothingToDo).toMatchObject({ code: 0, stdout: expect.stringMatching(/ lie in 1 graph\.\n$/) });
    expect((await refrain('scan', uploadFile, '--jsonl')).lines()).toMatchObject([{ verdict: 'flagged' }]);
  });

  it('watches a folder, and searches again with what was registered meanwhile', async () => {
    const inbox = folder.file('inbox');
    const late = music(40, 113);
    const lateFile = folder.file('late.flac');
    mkdirSync(inbox);
    copyFileSync(uploadFile, join(inbox, basename(uploadFile)));
    writeFileSync(lateFile, encodeAudio(late));
    const watching = startCli(['watch', inbox, '--settle', '0.2', '--jsonl', '--stack', deployment.stack], {
      env: environment(),
    });

    // Both are in work at once.
    writeFileSync(join(inbox, 'a.flac'), encodeAudio(music(10, 114)));
    writeFileSync(join(inbox, 'b.flac'), encodeAudio(late.slice(5, 35)));
    await Promise.all([watching.printed(/a\.flac/), watching.printed(/b\.flac/)]);
    expect((await refrain('register', lateFile, '--id', 'late')).code).toBe(0);
    const landing = setInterval(() => utimesSync(join(inbox, 'b.flac'), new Date(), new Date()), 2000);
    await watching.printed(/b\.flac[^\n]*"flagged"/).finally(() => clearInterval(landing));
    watching.process.kill('SIGINT');
    const { code, lines, stderr } = await watching.result;

    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const verdictsOf = (name: string) =>
      lines()
        .filter(({ path }) => path === join(inbox, name))
        .map(({ verdict }) => verdict);
    expect(verdictsOf(basename(uploadFile))).toEqual([]);
    expect(verdictsOf('a.flac')).toEqual(['clear']);
    expect(verdictsOf('b.flac')[0]).toBe('clear');
    expect(lines().at(-1)).toMatchObject({ verdict: 'flagged', detections: [{ referenceId: 'late' }] });
  });

  it('ends a watch when the deployment refuses it, and not with the next file', async () => {
    const inbox = folder.file('refused');
    mkdirSync(inbox);
    const proxy = await FaultyProxy.before(inject('awsUrl'));
    onTestFinished(() => proxy.close());
    proxy.fault = ({ method }) =>
      method === 'PUT'
        ? { status: 403, body: '<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>' }
        : undefined;
    writeFileSync(join(inbox, 'a.flac'), encodeAudio(music(10, 115)));

    const watched = await runCli(['watch', inbox, '--settle', '0.2', '--stack', deployment.stack], {
      env: { ...environment(), AWS_ENDPOINT_URL: proxy.url },
    });

    expect(watched.code).toBe(1);
    expect(watched.stderr).toMatch(/^refrain: .*Access ?Denied/i);
  });

  it('shows and changes what is kept of recordings, scans and cases', async () => {
    const policyFile = folder.file('policy.json');
    const policy = { rules: [{ when: [], action: 'block' }] };
    writeFileSync(policyFile, JSON.stringify(policy));
    const [scan] = (await refrain('scans', '--verdict', 'flagged', '--jsonl')).lines();
    const [aCase] = (await refrain('cases', '--state', 'closed', '--jsonl')).lines();
    const one = async (...args: string[]) => {
      const { code, lines, stderr } = await refrain(...args, '--jsonl');
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      return lines()[0]!;
    };

    expect(await one('references', 'disable', 'my-song')).toMatchObject({ state: 'disabled' });
    expect(await one('references', 'enable', 'my-song')).toMatchObject({ state: 'active' });
    expect(await one('references', 'exclude', 'my-song', '50-55')).toMatchObject({
      excluded: [{ startMs: 50_000, endMs: 55_000 }],
    });
    expect(await one('policy', 'set', policyFile, '--owner', 'Day Label')).toMatchObject({ policy });
    expect(await one('policy', 'show', '--owner', 'Day Label')).toMatchObject({ policy });
    expect(await one('references', 'show', 'my-song')).toMatchObject({
      state: 'active',
      excluded: [{ startMs: 50_000, endMs: 55_000 }],
    });
    expect(await one('scans', 'show', String(scan!.scanId))).toMatchObject({ scanId: scan!.scanId });
    expect(await one('cases', 'show', String(aCase!.caseId))).toMatchObject({ caseId: aCase!.caseId });
    expect(await refrain('queue')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('the store of this machine alone'),
    });
  });

  it('erases a reference from the catalogue, too', async () => {
    const { code, lines } = await refrain('references', 'delete', 'my-song', '--jsonl');
    const clear = await refrain('scan', uploadFile, '--jsonl');

    expect(code).toBe(0);
    expect(lines()[0]!.segmentsErased).toBeGreaterThan(20);
    expect(clear).toMatchObject({ code: 0 });
    expect(clear.lines()).toMatchObject([{ verdict: 'clear' }]);
  });
});

/** What the schedule of the deployment puts into the queue. */
async function requestOfTheNight({ stack }: Deployment): Promise<string> {
  const { Rules = [] } = await clients.eventBridge.send(new ListRulesCommand({ NamePrefix: stack }));
  const [rule] = Rules.filter(({ ScheduleExpression }) => ScheduleExpression);
  const { Targets } = await clients.eventBridge.send(new ListTargetsByRuleCommand({ Rule: rule!.Name! }));
  return Targets![0]!.Input!;
}

type CostReport = Cost & { known: string; usage: Usage };

/** Indexes are numbered. */
const numberOf = (index: string): number => Number(/\d{6}$/.exec(index)?.[0]);

describe('an operator who is not understood', () => {
  it.each([
    ['a stack that is not there', 2, {}, /^refrain: there is no stack refrain-nowhere-storage in us-east-1/],
    [
      'no credentials',
      1,
      {
        AWS_ACCESS_KEY_ID: '',
        AWS_SECRET_ACCESS_KEY: '',
        AWS_EC2_METADATA_DISABLED: 'true',
        AWS_SHARED_CREDENTIALS_FILE: '/dev/null',
      },
      /^refrain: there are no AWS credentials: log in/,
    ],
    ['no region', 2, { AWS_REGION: '', AWS_CONFIG_FILE: '/dev/null' }, /^refrain: in which region\?/],
    ['no server', 1, { AWS_ENDPOINT_URL: 'http://127.0.0.1:9' }, /^refrain: AWS cannot be reached/],
  ])('%s is one line, and an exit code', async (_, code, env, line) => {
    const result = await runCli(['aws', 'status', '--stack', 'refrain-nowhere'], {
      env: { ...environment(), ...env },
    });

    expect(result.stderr).toMatch(line);
    expect(result.stderr.trim().split('\n')).toHaveLength(1);
    expect(result).toMatchObject({ code, stdout: '' });
  });

  it('is told to name a deployment', async () => {
    const result = await runCli(['aws', 'status'], { env: environment() });

    expect(result).toMatchObject({ code: 2, stderr: expect.stringContaining('--stack NAME') });
  });
});
