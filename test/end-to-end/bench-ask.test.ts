import { appendFileSync, cpSync, globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { ask, type EngineSpec } from '../../bench/accuracy/ask.ts';
import { DEFAULT_MODEL, Runtime } from '../../local/runtime.ts';
import { encodeAudio, music, temporaryFolder } from '../support/audio.ts';

// The accuracy bench's workers, as they are: processes of their own, each with a copy of a real store.

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const RATE = 16_000;
const folder = temporaryFolder();
const scratch = folder.file('scratch');
const engine = {
  name: 'refrain',
  storeDir: folder.file('store'),
  modelDir: DEFAULT_MODEL,
} as const satisfies EngineSpec;
const flac = (path: string, pcm: Float32Array) =>
  encodeAudio(path, [pcm], { format: 'flac', sampleRate: RATE });
const queries = ['a', 'b', 'none'].map((id) => ({ id, path: folder.file(`query-${id}.flac`) }));
const quietly = { workers: 1, say: () => {} };

beforeAll(async () => {
  mkdirSync(scratch);
  vi.stubEnv('TMPDIR', scratch);
  await using runtime = await Runtime.open({ storeDir: engine.storeDir });
  for (const [seed, id] of ['a', 'b'].entries()) {
    const pcm = music(20, RATE, 10 * (seed + 1));
    const path = folder.file(`${id}.flac`);
    flac(path, pcm);
    flac(folder.file(`query-${id}.flac`), pcm.subarray(5 * RATE, 15 * RATE));
    await runtime.register({ path, referenceId: id });
  }
  flac(folder.file('query-none.flac'), music(10, RATE, 99));
});
afterAll(() => {
  vi.unstubAllEnvs();
  folder.remove();
});

/** The kept answers of one test. */
let answers = '';
let tests = 0;
const fresh = () => (answers = folder.file(`answers-${++tests}`));
const kept = () => globSync(join(answers, '*.jsonl'));

describe('asking with workers', () => {
  it('finds the same with any number of them, in the order of the queries, and leaves no copy behind', async () => {
    const alone = await ask(engine, queries, { ...quietly, folder: fresh() });
    const together = await ask(engine, queries, { ...quietly, workers: 3, folder: fresh() });

    expect([...alone.keys()]).toEqual(['a', 'b', 'none']);
    expect([...alone.values()].map((findings) => findings.map(({ referenceId }) => referenceId))).toEqual([
      ['a'],
      ['b'],
      [],
    ]);
    expect([...together]).toEqual([...alone]);
    expect(globSync('refrain-bench-*', { cwd: scratch })).toEqual([]);
  });

  it('fails with the reason when a file cannot be scanned, and keeps what was answered', async () => {
    fresh();
    const gone = { id: 'gone', path: folder.file('gone.flac') };

    await expect(ask(engine, [queries[0]!, gone], { ...quietly, folder: answers })).rejects.toThrow(
      /ended \(exit code 1\) at .*gone\.flac:(.|\n)*gone\.flac" does not exist/,
    );

    expect(readFileSync(kept()[0]!, 'utf8')).toMatch(
      /^{"path":".*query-a\.flac","findings":\[{"referenceId":"a".*\n$/,
    );
  });

  it('takes kept answers for the same store, model and code, but not a line that was cut off', async () => {
    fresh();
    await ask(engine, queries.slice(0, 1), { ...quietly, folder: answers });
    writeFileSync(kept()[0]!, readFileSync(kept()[0]!, 'utf8').replaceAll('"a"', '"kept"'));
    appendFileSync(kept()[0]!, `{"path":"${queries[1]!.path}","find`);

    const found = await ask(engine, queries.slice(0, 2), { ...quietly, folder: answers });

    expect(found.get('a')![0]!.referenceId).toBe('kept');
    expect(found.get('b')![0]!.referenceId).toBe('b');
    const lines = readFileSync(kept()[0]!, 'utf8').trim().split('\n');
    expect(lines.map((line) => JSON.parse(line).path)).toEqual([queries[0]!.path, queries[1]!.path]);
  });

  it('asks again after a new calibration', async () => {
    fresh();
    const modelDir = folder.file('calibrated');
    cpSync(DEFAULT_MODEL, modelDir, { recursive: true });
    const manifest = JSON.parse(readFileSync(join(modelDir, 'model.json'), 'utf8'));
    await ask(engine, queries.slice(0, 1), { ...quietly, folder: answers });

    manifest.calibration.threshold = 1;
    writeFileSync(join(modelDir, 'model.json'), JSON.stringify(manifest));
    const found = await ask({ ...engine, modelDir }, queries.slice(0, 1), { ...quietly, folder: answers });

    expect(found.get('a')).toEqual([]);
    expect(kept()).toHaveLength(2);
  });
});
