import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { exitCodeOf } from '../../local/cli/exit.ts';
import { findFiles, looksLikeMedia, skippedWords } from '../../local/cli/files.ts';
import { ProgressLine, renderProgress } from '../../local/cli/progress.ts';
import { parseTimeSpan } from '../../local/cli/time.ts';
import { temporaryFolder } from '../support/audio.ts';

const folder = temporaryFolder();
const at = (...parts: string[]) => join(folder.path, ...parts);

beforeAll(() => {
  for (const path of ['b/deep', '.hidden', 'locked']) mkdirSync(at(path), { recursive: true });
  for (const path of [
    'a.mp3',
    'b/deep/c.FLAC',
    'b/no-extension',
    'b/cover.jpg',
    'b/notes.txt',
    '.hidden/x.mp3',
    '.y.mp3',
    'it\'s "odd"\n🎉.ogg',
  ]) {
    writeFileSync(at(path), 'x');
  }
  symlinkSync(at('b'), at('link-to-folder'));
  symlinkSync(at('gone'), at('broken-link.mp3'));
});
afterAll(() => {
  chmodSync(at('locked'), 0o755);
  folder.remove();
});

/** Root may read everything: for the time of `work` it is nobody in particular. */
async function withoutPrivileges<T>(work: () => Promise<T>): Promise<T> {
  if (process.getuid!() !== 0) return work();
  chmodSync(folder.path, 0o755);
  process.seteuid!(65_534);
  try {
    return await work();
  } finally {
    process.seteuid!(0);
  }
}

describe('findFiles', () => {
  test('takes the media of a folder and of all below it, and counts what it leaves out', async () => {
    const { files, skipped } = await findFiles([folder.path]);

    expect(files).toEqual([
      at('a.mp3'),
      at('b/deep/c.FLAC'),
      at('b/no-extension'),
      at('it\'s "odd"\n🎉.ogg'),
    ]);
    expect(skipped).toEqual(
      new Map([
        ['.jpg', 1],
        ['.txt', 1],
      ]),
    );
    expect(skippedWords(skipped)).toMatch(/^2 files are left out.*\.jpg, \.txt/);
  });

  test('takes a file that is named, whatever it is called, and once', async () => {
    const { files } = await findFiles([at('b/notes.txt'), at('b/notes.txt'), at('.y.mp3')]);

    expect(files).toEqual([at('b/notes.txt'), at('.y.mp3')]);
  });

  test('tells what cannot be read and goes on with the rest', async () => {
    const { files, unreadable } = await findFiles([
      at('missing.mp3'),
      at('broken-link.mp3'),
      at('a.mp3'),
      'nul\u0000.mp3',
      '',
    ]);

    expect(files).toEqual([at('a.mp3')]);
    expect(unreadable.map(({ path, reason }) => [path, reason.code])).toEqual([
      [at('missing.mp3'), 'NOT_FOUND'],
      [at('broken-link.mp3'), 'NOT_FOUND'],
      ['nul\u0000.mp3', 'BAD_NAME'],
      ['', 'BAD_NAME'],
    ]);
  });

  test.runIf(process.getuid)('a folder without permission ends nothing', async () => {
    chmodSync(at('locked'), 0);

    const { files, unreadable } = await withoutPrivileges(() => findFiles([folder.path]));

    expect(unreadable.map(({ path, reason }) => [path, reason.code])).toEqual([
      [at('broken-link.mp3'), 'NOT_FOUND'],
      [at('locked'), 'NOT_READABLE'],
    ]);
    expect(files).toContain(at('a.mp3'));
  });
});

test.each([
  ['song.MP3', true],
  ['upload', true],
  ['film.mkv', true],
  ['song.mp3.part', false],
  ['list.m3u8', false],
  ['.DS_Store', false],
])('%s is taken for media: %s', (name, expected) => {
  expect(looksLikeMedia(`/x/${name}`)).toBe(expected);
});

describe('parseTimeSpan', () => {
  test.each([
    ['1:05-1:30', 65_000, 90_000],
    ['65-90', 65_000, 90_000],
    ['65s – 90.5s', 65_000, 90_500],
    ['0-1:02:03', 0, 3_723_000],
  ])('reads %s', (text, startMs, endMs) => {
    expect(parseTimeSpan(text)).toEqual({ startMs, endMs });
  });

  test.each(['', '5', '1:05', '5-', '-5', 'a-b', '1:75-2:00', '1-2-3', '90-65', '5-5'])(
    'refuses %j',
    (text) => {
      expect(() => parseTimeSpan(text)).toThrow(/no stretch of time|ends before it begins/);
    },
  );
});

test('flagged outweighs trouble, and 0 says that every file is clear', () => {
  expect(exitCodeOf(['clear', 'clear'])).toBe(0);
  expect(exitCodeOf(['clear', 'incomplete'])).toBe(1);
  expect(exitCodeOf(['clear', 'rejected'])).toBe(1);
  expect(exitCodeOf(['rejected', 'flagged'])).toBe(3);
});

describe('renderProgress', () => {
  const work = { path: 'very/long/path/to/a/song.mp3', file: 3, files: 35, heardMs: 60_000, elapsedMs: 2000 };

  test('tells file, place, speed and what is left', () => {
    const line = renderProgress({ ...work, totalMs: 120_000 }, { columns: 100, colour: false });

    expect(line).toContain('3/35 very/long');
    expect(line).toContain('━━━━━━━━━━──────────');
    expect(line).toContain('1:00 of 2:00 · 30× real time · 0:02 left');
  });

  test('never goes beyond the end', () => {
    const line = renderProgress({ ...work, totalMs: 59_000 }, { columns: 100, colour: false });

    expect(line).toContain('0:59 of 0:59 · 30× real time · 0:00 left');
  });

  test('promises nothing before anything was heard', () => {
    const line = renderProgress({ ...work, heardMs: 0, totalMs: 59_000 }, { columns: 100, colour: false });

    expect(line).toMatch(/0:00 of 0:59$/);
  });

  test('promises no end that nobody knows', () => {
    expect(renderProgress(work, { columns: 100, colour: false })).toMatch(/1:00 · 30× real time$/);
  });

  test.each([40, 80, 120])('stays on one line of %i columns', (columns) => {
    const line = renderProgress({ ...work, path: 'x'.repeat(300) }, { columns, colour: false });

    expect(line.length).toBeLessThanOrEqual(columns);
  });
});

describe('ProgressLine', () => {
  const ERASE_LINE = '\r\u001b[K';
  const streamOf = (isTTY: boolean) => {
    const written: string[] = [];
    const stream = { isTTY, columns: 60, write: (text: string) => written.push(text) };
    return { written, stream: stream as unknown as NodeJS.WriteStream };
  };
  const work = { path: 'a.mp3', file: 1, files: 1, heardMs: 1000, totalMs: 2000, elapsedMs: 500 };
  const screen = { columns: 60, colour: false };

  test('draws over itself on a terminal, within its width, and makes room for other text', () => {
    const { written, stream } = streamOf(true);
    const line = new ProgressLine(stream, screen);

    line.show(work);
    line.clear();
    line.clear();

    expect(written).toHaveLength(2);
    const [drawn, cleared] = written;
    expect(drawn!.startsWith(ERASE_LINE)).toBe(true);
    expect(drawn).toContain('0:01 of 0:02');
    expect(drawn!.length - ERASE_LINE.length).toBeLessThan(60);
    expect(cleared).toBe(ERASE_LINE);
  });

  test('writes nothing into a pipe', () => {
    const { written, stream } = streamOf(false);
    const line = new ProgressLine(stream, screen);

    line.show(work);
    line.clear();

    expect(written).toEqual([]);
  });
});
