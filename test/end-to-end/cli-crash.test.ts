import type { ChildProcess } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { openStore, type Store } from '../../local/adapters/store.ts';
import { audioFile, music, seededRandom, temporaryFolder } from '../support/audio.ts';
import { runCli, startCli } from '../support/cli.ts';

// Processes that die at any moment: what they leave behind must be sound, and the next run goes on from there.

const RATE = 16_000;
const KILLS = 10;
const SECONDS = 30;
/** Twenty runs and more, on a machine that may be busy with other things. */
vi.setConfig({ testTimeout: 300_000, hookTimeout: 120_000 });
const folder = temporaryFolder();
const at = (...parts: string[]) => join(folder.path, ...parts);
const calm = at('calm');

/** How long an undisturbed run takes, so that the kills fall all over it. */
let registerMs = 0;
let scanMs = 0;

beforeAll(async () => {
  mkdirSync(at('masters'));
  const pieces = [1, 2, 3, 4].map((seed) => music(SECONDS, RATE, seed));
  for (const [i, pcm] of pieces.entries()) {
    audioFile(at('masters', `${i}.flac`), pcm, { format: 'flac', sampleRate: RATE });
  }
  const upload = new Float32Array(
    Array.from({ length: 8 }, (_, i) =>
      Array.from(i % 2 ? pieces[i >> 1]! : music(SECONDS, RATE, 20 + i)),
    ).flat(),
  );
  // Lossless, so that a scan that goes on in the middle hears the very same samples.
  audioFile(at('upload.flac'), upload, { format: 'flac', sampleRate: RATE });

  const timed = async (...args: string[]) => {
    const startedAt = performance.now();
    await runCli([...args, '--store', calm]);
    return performance.now() - startedAt;
  };
  registerMs = await timed('register', at('masters'));
  scanMs = await timed('scan', at('upload.flac'));
});
afterAll(() => folder.remove());

/** Starts a run and kills it after some part of the time that it would take. */
async function killedRun(args: readonly string[], afterMs: number): Promise<void> {
  const run = startCli(args);
  await sleep(afterMs);
  run.process.kill('SIGKILL');
  await run.result;
}

async function inspect<T>(path: string, look: (store: Store) => Promise<T>): Promise<T> {
  await using store = await openStore(path, { mode: 'read' });
  return await look(store);
}

/** Everything that a store holds, less what differs from run to run. */
const contentsOf = (path: string) =>
  inspect(path, async (store) => {
    const { items: references } = await store.references.list();
    const { items: scans } = await store.scans.list();
    const { items: cases } = await store.cases.list();
    const { items: events } = await store.events.list();
    const messages = await store.queue('review').peek(1000);
    const segments = await Promise.all(store.catalogues().map((catalogue) => catalogue.stats()));
    return {
      references: references
        .map(({ registeredAt: _at, ...rest }) => rest)
        .sort((a, b) => (a.referenceId < b.referenceId ? -1 : 1)),
      scans: scans.map(({ scanId, state, verdict, detections, durationMs, searchedMs, announced }) => ({
        scanId,
        state,
        verdict,
        detections,
        durationMs,
        searchedMs,
        announced,
      })),
      cases: cases.map(({ caseId, state, detection }) => ({ caseId, state, detection })),
      catalogue: segments.map(({ references: count, segments: rows }) => ({ count, rows })),
      finished: events
        .filter(({ type }) => type === 'refrain.scan.finished.v1')
        .map(({ subject }) => subject),
      // Delivery is at least once: a message may come twice, but as the same one.
      messages: new Set(messages.map(({ body }) => (JSON.parse(body) as { subject: string }).subject)),
      left: [
        ...(await store.queue('register-requests').peek(10)),
        ...(await store.queue('scan-requests').peek(10)),
        ...(await store.queue('scan-requests-dlq').peek(10)),
        ...(await store.queue('register-requests-dlq').peek(10)),
      ],
    };
  });

describe('kill -9', () => {
  test(`at ${2 * KILLS} moments loses nothing and doubles nothing`, async () => {
    const random = seededRandom(20);
    const store = at('killed');
    const register = ['register', at('masters'), '--store', store];
    const scan = ['scan', at('upload.flac'), '--store', store];

    for (let i = 0; i < KILLS; i++) await killedRun(register, random() * registerMs);
    const registered = await runCli(register);
    for (let i = 0; i < KILLS; i++) await killedRun(scan, random() * scanMs);
    const scanned = await runCli(scan);

    expect(registered).toMatchObject({ code: 0, stderr: '' });
    expect(scanned).toMatchObject({ code: 3, stderr: '' });
    const contents = await contentsOf(store);
    expect(contents).toEqual(await contentsOf(calm));
    expect(contents.references).toHaveLength(4);
    expect(contents.scans).toMatchObject([{ state: 'done', verdict: 'flagged' }]);
    expect(contents.cases).toHaveLength(4);
    expect(contents.left).toEqual([]);
  });
});

describe('Ctrl-C', () => {
  test('stops a scan soundly; until it is done it has no verdict, and the next run goes on', async () => {
    const store = at('interrupted');
    await runCli(['register', at('masters'), '--store', store]);
    const running = startCli(['scan', at('upload.flac'), '--store', store, '--jsonl']);
    await storedWindow(store, running.process);
    running.process.kill('SIGINT');
    const stopped = await running.result;

    expect(stopped).toMatchObject({ code: 130, stdout: '' });
    expect(stopped.stderr).toContain('the same command goes on from there');
    expect((await runCli(['scans', '--store', store, '--jsonl'])).lines()).toMatchObject([
      { state: 'scanning' },
    ]);

    const { code, lines } = await runCli(['scan', at('upload.flac'), '--store', store, '--jsonl']);
    expect(code).toBe(3);
    expect(lines()).toMatchObject([{ verdict: 'flagged', detections: { length: 4 } }]);
    expect((await contentsOf(store)).scans).toEqual((await contentsOf(calm)).scans);
  });

  test('stops the registration of a folder; the next run does the rest', async () => {
    const store = at('half-registered');
    const running = startCli(['register', at('masters'), '--store', store, '--jsonl']);
    await running.printed(/admitted/);
    running.process.kill('SIGTERM');
    const stopped = await running.result;

    const { code, lines } = await runCli(['register', at('masters'), '--store', store, '--jsonl']);

    expect(stopped.code).toBe(143);
    expect(code).toBe(0);
    const outcomes = lines().map(({ outcome }) => outcome);
    expect(outcomes[0]).toBe('existing');
    expect(outcomes).toHaveLength(4);
    expect((await contentsOf(store)).references).toEqual((await contentsOf(calm)).references);
  });
});

/** Waits until a scan has stored its first window. */
async function storedWindow(path: string, child: ChildProcess): Promise<void> {
  await inspect(path, async ({ scans }) => {
    while (child.exitCode === null) {
      const [scan] = (await scans.list()).items;
      if (scan) for await (const _window of scans.windows(scan.scanId)) return;
      await sleep(5);
    }
    throw new Error('the scan ended before a window was seen');
  });
}
