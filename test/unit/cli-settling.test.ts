import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Settling } from '../../local/cli/settling.ts';

// The clock is ours, so that no machine is too slow for it.

const SETTLE_MS = 2000;
/** What each file looks like. */
let files: Map<string, string>;
let settled: string[];
let settling: Settling;

beforeEach(() => {
  vi.useFakeTimers();
  files = new Map();
  settled = [];
  settling = new Settling(
    SETTLE_MS,
    async (path) => files.get(path),
    (path) => settled.push(path),
  );
});
afterEach(() => {
  settling.close();
  vi.useRealTimers();
});

const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);

describe('a file', () => {
  test('that does not change settles after the time, once', async () => {
    files.set('a', '1');
    settling.touch('a');

    await pass(SETTLE_MS - 1);
    expect(settled).toEqual([]);
    await pass(1);
    expect(settled).toEqual(['a']);
    await pass(10 * SETTLE_MS);
    expect(settled).toEqual(['a']);
  });

  test('that grows has not settled, though nobody tells of it', async () => {
    files.set('a', '0');
    settling.touch('a');

    for (let size = 1; size <= 5; size++) {
      await pass(SETTLE_MS / 2);
      files.set('a', String(size));
    }
    expect(settled).toEqual([]);

    await pass(2 * SETTLE_MS);
    expect(settled).toEqual(['a']);
  });

  test('that is told of again begins anew', async () => {
    files.set('a', '1');
    settling.touch('a');
    await pass(SETTLE_MS - 1);
    settling.touch('a');

    await pass(SETTLE_MS - 1);
    expect(settled).toEqual([]);
    await pass(1);
    expect(settled).toEqual(['a']);
  });

  test('that settled and changed settles again', async () => {
    files.set('a', '1');
    settling.touch('a');
    await pass(SETTLE_MS);
    files.set('a', '2');
    settling.touch('a');
    await pass(SETTLE_MS);

    expect(settled).toEqual(['a', 'a']);
  });

  test.each([
    ['went away', () => files.delete('a')],
    ['was forgotten', () => settling.forget('a')],
    ['nobody waits for any more', () => settling.close()],
  ])('that %s never settles', async (_, leave) => {
    files.set('a', '1');
    settling.touch('a');
    leave();

    await pass(5 * SETTLE_MS);
    expect(settled).toEqual([]);
  });

  test('does not wait for others', async () => {
    files.set('a', '1').set('b', '1');
    settling.touch('a');
    settling.touch('b');
    await pass(SETTLE_MS / 2);
    files.set('b', '2');
    settling.touch('b');

    await pass(SETTLE_MS / 2);
    expect(settled).toEqual(['a']);
  });
});
