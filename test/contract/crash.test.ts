import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { DIMENSION, LIMITS, SEGMENTS } from './busy-writer.ts';
import { allPages, rowsOf, seededRandom, segmentVectors } from './fixtures.ts';
import { temporaryFolder, temporaryStore } from './temporary.ts';

const KILLS = 24;
const MODEL = { id: 'test-model', dimension: DIMENSION };

/** Lets a writer work and kills it at some moment; resolves to the lines it wrote. */
async function interrupted(folder: string, first: number, random: () => number): Promise<string[]> {
  const script = join(import.meta.dirname, 'busy-writer.ts');
  const child = spawn(process.execPath, [script, folder, String(first)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exit = once(child, 'exit');
  const lines: string[] = [];
  const output = createInterface({ input: child.stdout }).on('line', (line) => lines.push(line));
  const closed = once(output, 'close');

  if (random() < 1 / 6) {
    // While it starts.
    await sleep(random() * 200);
  } else {
    // In the middle of some later item, however slow the machine is today.
    const wanted = 1 + Math.floor(random() * 6);
    while (lines.length < wanted && child.exitCode === null) await Promise.race([once(output, 'line'), exit]);
    await sleep(random() * 30);
  }

  child.kill('SIGKILL');
  const [code] = await exit;
  expect(code, 'ended by itself, so by a fault').toBeNull();
  await closed;
  return lines;
}

it(`loses and doubles nothing when it is killed ${KILLS} times`, { timeout: 300_000 }, async () => {
  const folder = temporaryFolder();
  const random = seededRandom(Number(process.env.SEED ?? 1));
  const deleted = new Set<string>();
  let next = 0;

  for (let kill = 0; kill < KILLS; kill++) {
    for (const line of await interrupted(folder, next, random)) {
      if (line.startsWith('deletes ')) deleted.add(line.slice('deletes '.length));
      else if (line !== 'open') next = Number(line) + 1;
    }
  }
  expect(next, 'items that were acknowledged').toBeGreaterThan(KILLS);
  const items = Array.from({ length: next }, (_, n) => n);

  const check = new DatabaseSync(join(folder, 'refrain.db'));
  expect(check.prepare('PRAGMA integrity_check').all()).toEqual([{ integrity_check: 'ok' }]);
  check.close();
  const store = await temporaryStore(folder, { mode: 'write', limits: LIMITS });
  const catalogue = store.catalogue(MODEL);

  // References: those that were acknowledged, and at most the one that was in work when the last writer died.
  const references = await allPages(100, (page) => store.references.list(page));
  expect(references.length - next).toBeOneOf([0, 1]);
  const active = new Set(
    references.filter(({ state }) => state === 'active').map(({ referenceId }) => referenceId),
  );
  for (const n of items) expect(active).toContain(`song-${n}`);

  // Segments: all of a reference or none, each once, and the index finds them.
  const stats = await catalogue.stats();
  expect(stats.segments).toBe(stats.references * SEGMENTS);
  expect(stats.references - next).toBeOneOf([0, 1]);
  for (const n of items) {
    const { segments, vectors } = segmentVectors(SEGMENTS, DIMENSION, n);
    expect((await catalogue.vectorsOf(`song-${n}`, 0, 1000)).segments).toEqual(segments);
    const [hits] = await catalogue.search(rowsOf(vectors, DIMENSION, [n % SEGMENTS]), 5);
    expect(hits![0]).toMatchObject({ referenceId: `song-${n}`, segment: n % SEGMENTS });
    expect(new Set(hits!.map((hit) => `${hit.referenceId}/${hit.segment}`)).size).toBe(5);
  }

  // Scans, their windows, and their cases.
  for (const n of items) {
    expect(await store.scans.get(`scan-${n}`)).toMatchObject({ state: 'done' });
    const windows: number[] = [];
    for await (const { window, data } of store.scans.windows(`scan-${n}`)) {
      windows.push(window);
      expect(Buffer.compare(data, new Uint8Array(5000).fill(n))).toBe(0);
    }
    expect(windows).toEqual([0, 1, 2]);
  }
  const cases = await allPages(100, (page) => store.cases.list(page));
  expect(new Set(cases.map((item) => item.caseId)).size).toBe(cases.length);
  expect(cases.length - next).toBeOneOf([0, 1]);

  // Messages: each that was acknowledged is there until it is deleted; one that was interrupted may be sent again.
  const messages: string[] = [];
  for (const name of ['requests', 'requests-dlq']) {
    const queue = store.queue(name);
    for (let batch = await queue.receive(); batch.length > 0; batch = await queue.receive()) {
      messages.push(...batch.map((record) => record.body));
      for (const { receiptHandle } of batch) await queue.delete(receiptHandle);
    }
  }
  for (const n of items) {
    if (!deleted.has(`message-${n}`)) expect(messages).toContain(`message-${n}`);
  }
  const kept = messages.filter((message) => !deleted.has(message));
  expect(kept.length + deleted.size).toBeLessThanOrEqual(next + KILLS);

  // And it goes on.
  await catalogue.add('one more', segmentVectors(SEGMENTS, DIMENSION, 9999));
  expect(await catalogue.stats()).toMatchObject({ references: stats.references + 1 });
});
