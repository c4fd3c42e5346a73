import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { EmbedError, LambdaEmbedder } from '../../functions/adapters/aws/lambda-embedder.ts';
import type { ModelManifest } from '../../functions/core/model.ts';
import { awsClients } from './support/aws.ts';
import { createFunction } from './support/functions.ts';

/** Eight segments a second, so that a short test crosses the payload limit. */
const model: ModelManifest = {
  id: 'test-model',
  family: 'test',
  file: 'model.onnx',
  sha256: 'a'.repeat(64),
  bytes: 1,
  licence: 'Apache-2.0',
  sampleRate: 8000,
  segmentSamples: 8000,
  hopSamples: 1000,
  dimension: 16,
  similarity: 'cosine',
  input: { name: 'pcm', layout: 'window' },
  output: { name: 'embedding' },
  energyFloorDbfs: -60,
  calibration: {},
  provenance: {},
};

/** Embeds each segment as its first sample, sixteen times: enough to see whether parts lie where they belong. */
const honest = (spoil = '') => `
  let calls = 0;
  export const handler = async ({ modelId, pcm }) => {
    calls++;
    const bytes = Buffer.from(pcm, 'base64');
    const segments = (bytes.length / 2 - 8000) / 1000 + 1;
    let vectors = new Float32Array(segments * 16);
    for (let i = 0; i < vectors.length; i++) vectors[i] = bytes.readInt16LE((i >> 4) * 2000) / 32767;
    let answer = { modelId, sha256: 'a'.repeat(64), segments, dimension: 16 };
    ${spoil}
    return { ...answer, vectors: Buffer.from(vectors.buffer).toString('base64') };
  };`;

/** Enough for any machine: only a test that would fail anyway comes to its end. */
const PATIENT = { budgetMs: 60_000, baseMs: 10, capMs: 50 };
const IMPATIENT = { ...PATIENT, budgetMs: 2000 };

describe('LambdaEmbedder', () => {
  const clients = awsClients();
  const embedderOf = async (code: string, settings = {}, retry = PATIENT) =>
    new LambdaEmbedder(clients.lambda, {
      functionName: await createFunction(clients, { 'lambda.mjs': code }, settings),
      model,
      retry,
    });
  const window = (segments: number) =>
    Float32Array.from({ length: (segments - 1) * 1000 + 8000 }, (_, i) => Math.sin(i / 50_000));
  const expected = (segments: number) =>
    Float32Array.from({ length: segments * 16 }, (_, i) => Math.sin(((i >> 4) * 1000) / 50_000));

  it('embeds a window', async () => {
    const embedder = await embedderOf(honest());

    const vectors = await embedder.embed(window(5));

    expect(vectors).toHaveLength(5 * 16);
    expect(maxDifference(vectors, expected(5))).toBeLessThan(1e-4);
  });

  it('splits a window that exceeds the payload limit, and puts the parts where they belong', async () => {
    // The function refuses what Lambda would refuse, since the emulator lets it through.
    const embedder = await embedderOf(
      honest(`if (JSON.stringify({ modelId, pcm }).length > 6 * 1024 * 1024) throw new Error('too large');`),
    );
    const segments = 6000;

    const vectors = await embedder.embed(window(segments));

    expect(maxDifference(vectors, expected(segments))).toBeLessThan(1e-4);
  });

  it.each([
    ['values that are not finite', 'if (calls === 1) vectors[3] = NaN;'],
    ['the wrong number of segments', 'if (calls === 1) vectors = vectors.slice(16);'],
    ['another dimension', 'if (calls === 1) answer.dimension = 8;'],
    ['something that is not an answer', 'if (calls === 1) return "hello";'],
  ])('asks again after %s', async (_, spoil) => {
    const embedder = await embedderOf(honest(spoil));

    const vectors = await embedder.embed(window(2));

    expect(maxDifference(vectors, expected(2))).toBeLessThan(1e-4);
  });

  it.each([
    ['values that are not finite', 'vectors[3] = NaN;', /not finite/],
    ['the wrong number of segments', 'vectors = vectors.slice(16);', /16 values for 2 segments of 16/],
    ['an error', `throw new Error('out of luck');`, /out of luck/],
  ])('gives up when it keeps getting %s', async (_, spoil, message) => {
    const embedder = await embedderOf(honest(spoil), {}, IMPATIENT);

    const embedding = embedder.embed(window(2));

    await expect(embedding).rejects.toThrow(EmbedError);
    await expect(embedding).rejects.toThrow(message);
  });

  it.each([
    ['throws', `throw new Error('out of luck');`],
    ['runs into its time-out', 'await new Promise(() => setInterval(() => {}, 1000));'],
    ['crashes', 'process.kill(process.pid);'],
  ])('asks again when the function %s', async (_, fault) => {
    // Such a fault ends the sandbox, so the function cannot remember that it has failed before.
    const folder = await mkdtemp(join(tmpdir(), 'refrain-test-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    const embedder = await embedderOf(
      `import { existsSync, writeFileSync } from 'node:fs';
       ${honest(`if (!existsSync(process.env.MARK)) { writeFileSync(process.env.MARK, ''); ${fault} }`)}`,
      { timeoutSeconds: 3, environment: { MARK: join(folder, 'failed') } },
    );

    const vectors = await embedder.embed(window(2));

    expect(maxDifference(vectors, expected(2))).toBeLessThan(1e-4);
  });

  it('does not go on asking a function that runs another model', async () => {
    const embedder = await embedderOf(honest(`answer.sha256 = 'b'.repeat(64);`));
    const startedAt = performance.now();

    await expect(embedder.embed(window(2))).rejects.toThrow(/deploy both together/);
    expect(performance.now() - startedAt).toBeLessThan(PATIENT.budgetMs);
  });

  it('does not go on asking when the function does not exist', async () => {
    const embedder = new LambdaEmbedder(clients.lambda, { functionName: 'nobody', model, retry: PATIENT });
    const startedAt = performance.now();

    await expect(embedder.embed(window(1))).rejects.toThrow(/nobody/);
    expect(performance.now() - startedAt).toBeLessThan(PATIENT.budgetMs);
  });
});

function maxDifference(a: Float32Array, b: Float32Array): number {
  return a.reduce((largest, value, i) => Math.max(largest, Math.abs(value - b[i]!)), 0);
}
