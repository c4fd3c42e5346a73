import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { PcmBlock } from '../../functions/ports/decoder.ts';
import { Tape } from '../../functions/scan/tape.ts';

const RATE = 1000;
const tone = Float32Array.from({ length: 5000 }, (_, i) => 0.5 * Math.sin(i / 20));

let scratch: string;
beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), 'refrain-'));
  vi.stubEnv('TMPDIR', scratch);
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(scratch, { recursive: true });
});

async function* blocksOf(pcm: Float32Array, size: number): AsyncGenerator<PcmBlock> {
  for (let at = 0; at < pcm.length; at += size) yield { startSample: at, pcm: pcm.subarray(at, at + size) };
}

async function recorded(blocks = blocksOf(tone, 777)): Promise<Tape> {
  const tape = await Tape.create(RATE);
  for await (const _ of tape.record(blocks));
  return tape;
}

async function pcmOf(blocks: AsyncIterable<PcmBlock>): Promise<number[]> {
  const pcm: number[] = [];
  for await (const block of blocks) pcm.push(...block.pcm);
  return pcm;
}

it('hands on what it records', async () => {
  await using tape = await Tape.create(RATE);
  expect(await pcmOf(tape.record(blocksOf(tone, 777)))).toEqual([...tone]);
});

it('plays what was recorded, sample by sample, to 16 bits', async () => {
  await using tape = await recorded();
  const played = await pcmOf(tape.play(1));
  expect(tape.durationMs).toBe(5000);
  expect(played.length).toBe(tone.length);
  // Behind the end lies silence, which the last samples' filter hears.
  for (let i = 8; i < 4992; i++) expect(Math.abs(played[i]! - tone[i]!)).toBeLessThan(0.003);
});

it('goes on from any sample as if it had played from the start', async () => {
  await using tape = await recorded();
  const whole = await pcmOf(tape.play(1.18));
  expect(await pcmOf(tape.play(1.18, 3210))).toEqual(whole.slice(3210));
});

it('knows whether it was recorded from the start', async () => {
  await using tape = await Tape.create(RATE);
  expect(tape.isRecorded).toBe(false);
  await pcmOf(tape.record(blocksOf(tone, 500)));
  expect(tape.isRecorded).toBe(true);
});

it('keeps what it heard of a file that breaks off', async () => {
  async function* broken() {
    yield { startSample: 0, pcm: tone.subarray(0, 2000) };
    throw new Error('damaged');
  }
  await using tape = await Tape.create(RATE);
  await expect(pcmOf(tape.record(broken()))).rejects.toThrow('damaged');
  expect(tape.isRecorded).toBe(true);
  expect((await pcmOf(tape.play(1))).length).toBe(2000);
});

it('leaves no file behind, not even while it is in use', async () => {
  await using _tape = await recorded();
  expect(readdirSync(scratch)).toEqual([]);
});
