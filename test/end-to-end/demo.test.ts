import { spawn } from 'node:child_process';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, describe, expect, it } from 'vitest';

const DEMO = join(import.meta.dirname, '../../local/demo/demo.ts');

const folders: string[] = [];
afterEach(() => Promise.all(folders.splice(0).map((folder) => rm(folder, { recursive: true, force: true }))));

async function runDemo(environment: NodeJS.ProcessEnv = {}) {
  const folder = await mkdtemp(join(tmpdir(), 'refrain-demo-'));
  folders.push(folder);
  const { FORCE_COLOR: _colour, ...env } = process.env;
  const child = spawn(process.execPath, [DEMO], {
    env: { ...env, REFRAIN_DEMO_DIR: folder, COLUMNS: '100', ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = new Promise<number | null>((resolve) => child.on('exit', resolve));
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
  return { folder, stdout, stderr, exitCode: await ended };
}

describe('npm run demo', () => {
  it('finds what it hid, clears the rest, and says so in plain text to a pipe', {
    timeout: 300_000,
  }, async () => {
    const { folder, stdout, stderr, exitCode } = await runDemo();

    expect(stderr).toBe('');
    expect(stdout).toContain('Everything hidden was found, and nothing else.');
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/⚑ flagged {2}travel-diary\.webm {2}1:38, all of it searched/);
    expect(stdout).toMatch(/✔ clear {2}kitchen-session\.mp3 {2}1:02, all of it searched/);
    expect(stdout).toContain('2 messages wait for a moderator');
    expect(stdout).not.toContain('\u001b');
    expect(Math.max(...stdout.split('\n').map((line) => line.length))).toBeLessThanOrEqual(100);
    expect((await readdir(join(folder, 'uploads'))).sort()).toEqual([
      'kitchen-session.mp3',
      'travel-diary.webm',
    ]);
  });

  it('says in one sentence what is in the way', async () => {
    const { stdout, stderr, exitCode } = await runDemo({ REFRAIN_DEMO_DIR: '/dev/null/demo' });

    expect(exitCode).toBe(1);
    expect(stdout).toContain('Refrain finds copied music');
    expect(stderr).toBe('refrain demo: /dev/null/demo: a part of the path is not a folder\n');
  });
});
