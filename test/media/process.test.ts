import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MediaDecoder } from '../../functions/adapters/media/decoder.ts';
import type { PcmBlock } from '../../functions/ports/decoder.ts';
import { bundledChild } from '../../local/decoder.ts';
import { audioFile, decodeAll, music, temporaryFolder } from '../support/audio.ts';

// What becomes of the decoding process. Linux shows it under /proc.

const RATE = 16_000;
const folder = temporaryFolder();
let tune: string;

beforeAll(() => {
  // Long enough that the pipe fills up and the decoder waits for its reader.
  tune = audioFile(folder.file('tune.mp3'), music(60, RATE), { format: 'mp3', sampleRate: RATE });
});
afterAll(folder.remove);

describe.skipIf(process.platform !== 'linux')('the process of a decoder', () => {
  it.each([
    ['from its file', async () => undefined],
    ['from its program in one piece', bundledChild],
  ])('%s inherits nothing, may write nothing, and has bounded memory and time', async (_, programOf) => {
    const decoder = new MediaDecoder({ memoryMb: 384 }, await programOf());
    const audio = await decoder.open(tune, { sampleRate: RATE });
    const [child] = childrenOf(process.pid);

    const limits = readFileSync(`/proc/${child}/limits`, 'utf8');
    const environment = readFileSync(`/proc/${child}/environ`, 'utf8');
    const command = readFileSync(`/proc/${child}/cmdline`, 'utf8').split('\0');
    await leave(audio.blocks);

    expect(limits).toMatch(/Max file size\s+0\s/);
    expect(limits).toMatch(/Max core file size\s+0\s/);
    expect(limits).toMatch(/Max data size\s+1073741824\s/);
    expect(limits).not.toMatch(/Max cpu time\s+unlimited/);
    // The shell that sets the limits adds names of its own.
    expect(environment.split('\0').filter((entry) => !/^(PWD|SHLVL|_|OLDPWD)=|^$/.test(entry))).toEqual([]);
    expect(command).toContain('--permission');
    expect(command).not.toContain('--allow-fs-write');
    expect(command.join(' ')).not.toContain(tune);
  });

  it('ends when the iteration is left early', async () => {
    const audio = await new MediaDecoder().open(tune, { sampleRate: RATE });
    for await (const block of audio.blocks) {
      expect(block.startSample).toBe(0);
      break;
    }

    expect(childrenOf(process.pid)).toEqual([]);
    await expect(audio.summary).rejects.toThrow('not read to the end');
  });

  it('ends after the last block, and after a fault', async () => {
    await decodeAll(tune, { sampleRate: RATE });
    await decodeAll(tune, { sampleRate: RATE }, new MediaDecoder({ maxDurationMs: 20_000 })).catch(() => {});

    expect(childrenOf(process.pid)).toEqual([]);
  });

  it('yields the same samples from its program in one piece', async () => {
    const fromFile = await decodeAll(tune, { sampleRate: RATE });
    const decoder = new MediaDecoder({}, await bundledChild());
    const inOnePiece = await decodeAll(tune, { sampleRate: RATE }, decoder);

    expect(Buffer.from(inOnePiece.pcm.buffer).equals(Buffer.from(fromFile.pcm.buffer))).toBe(true);
    expect(inOnePiece.summary).toEqual(fromFile.summary);
  });

  it('says so when its program cannot run', async () => {
    const decoder = new MediaDecoder({}, 'throw new Error("broken")');

    await expect(decoder.open(tune, { sampleRate: RATE })).rejects.toMatchObject({ code: 'DECODER_CRASHED' });
  });

  it.each(['SIGSEGV', 'SIGABRT', 'SIGKILL'] as const)('%s costs this file and no other', async (signal) => {
    // Arrange
    const decoder = new MediaDecoder();
    const audio = await decoder.open(tune, { sampleRate: RATE });
    const [crashing] = childrenOf(process.pid);
    const other = decodeAll(tune, { sampleRate: RATE }, decoder);

    // Act
    process.kill(crashing!, signal);
    const crashed = readToEnd(audio.blocks);

    // Assert
    await expect(crashed).rejects.toMatchObject({ name: 'RejectedAudioError', code: 'DECODER_CRASHED' });
    await expect(audio.summary).rejects.toMatchObject({ code: 'DECODER_CRASHED' });
    expect((await other).summary.durationMs).toBe(60_000);
  });

  it('is killed when it shows no sign of life', async () => {
    const audio = await new MediaDecoder({ stallMs: 1500 }).open(tune, { sampleRate: RATE });
    process.kill(childrenOf(process.pid)[0]!, 'SIGSTOP');

    await expect(readToEnd(audio.blocks)).rejects.toMatchObject({ code: 'DECODE_TIMEOUT' });
    expect(childrenOf(process.pid)).toEqual([]);
  });

  it('is not hurried by a slow reader', async () => {
    const audio = await new MediaDecoder({ stallMs: 20_000 }).open(tune, { sampleRate: RATE });
    const decoder = audio.blocks[Symbol.asyncIterator]();
    await decoder.next();
    await delay(1500);

    let blocks = 1;
    while (!(await decoder.next()).done) blocks++;

    expect(blocks).toBe(30);
    expect((await audio.summary).durationMs).toBe(60_000);
  });

  it('is killed when the signal is aborted, before and while it decodes', async () => {
    const decoder = new MediaDecoder();
    const reason = new Error('out of time');
    const controller = new AbortController();
    const audio = await decoder.open(tune, { sampleRate: RATE, signal: controller.signal });

    controller.abort(reason);

    await expect(readToEnd(audio.blocks)).rejects.toBe(reason);
    await expect(decoder.open(tune, { sampleRate: RATE, signal: controller.signal })).rejects.toBe(reason);
    expect(childrenOf(process.pid)).toEqual([]);
  });

  it('does not outlive a parent that is killed', async () => {
    // Arrange: a parent that opens a file, reads one block, and goes to sleep
    const script = `
      import { MediaDecoder } from ${JSON.stringify(new URL('../../functions/adapters/media/decoder.ts', import.meta.url))};
      const audio = await new MediaDecoder().open(${JSON.stringify(tune)}, { sampleRate: ${RATE} });
      await audio.blocks[Symbol.asyncIterator]().next();
      console.log('asleep');
      setInterval(() => {}, 1000);`;
    const parent = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await new Promise((asleep) => parent.stdout.once('data', asleep));
    const [orphan] = childrenOf(parent.pid!);
    expect(orphan).toBeDefined();

    // Act
    parent.kill('SIGKILL');

    // Assert
    await expect.poll(() => isAlive(orphan!), { timeout: 10_000 }).toBe(false);
  });

  it('many at once do not mix up their audio', async () => {
    const seeds = [1, 2, 3, 4, 5, 6];
    const paths = seeds.map((seed) =>
      audioFile(folder.file(`${seed}.wav`), music(5, RATE, seed), {
        format: 'wav',
        codec: 'pcm_f32le',
        sampleRate: RATE,
      }),
    );

    const decoded = await Promise.all(paths.map((path) => decodeAll(path, { sampleRate: RATE })));

    decoded.forEach(({ pcm }, i) => {
      expect(Buffer.from(pcm.buffer).equals(Buffer.from(music(5, RATE, seeds[i]!).buffer))).toBe(true);
    });
  });
});

async function readToEnd(blocks: AsyncIterable<PcmBlock>): Promise<void> {
  for await (const _ of blocks);
}

async function leave(blocks: AsyncIterable<PcmBlock>): Promise<void> {
  for await (const _ of blocks) break;
}

/** Living processes whose parent this is, and that decode. */
function childrenOf(parent: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => parentOf(pid) === parent && readOr(`/proc/${pid}/cmdline`).includes('--permission'));
}

function parentOf(pid: number): number {
  return Number(/^PPid:\s+(\d+)/m.exec(readOr(`/proc/${pid}/status`))?.[1] ?? 0);
}

function isAlive(pid: number): boolean {
  return /^State:\s+[^ZX]/m.test(readOr(`/proc/${pid}/status`));
}

/** A process may be gone between listing and reading. */
function readOr(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
