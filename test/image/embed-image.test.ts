import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { LambdaClient } from '@aws-sdk/client-lambda';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { LambdaEmbedder } from '../../functions/adapters/aws/lambda-embedder.ts';
import { INVOKE_PAYLOAD_BYTES } from '../../functions/constants.ts';
import { SegmentGrid } from '../../functions/core/segment-grid.ts';
import { OnnxModel } from '../../functions/embed/onnx-model.ts';
import { decodePcm, decodeVectors, encodePcm } from '../../functions/embed/protocol.ts';
import { music } from '../support/audio.ts';
import { buildEmbedImage, type EmbedImage } from './embed-image.ts';
import { megabytesOf, printContent, printTimes } from './report.ts';
import { Sandbox } from './sandbox.ts';

const MODEL = 'models/refrain-fp-1';
const TASK = 'var/task';
const PROBE = { probe: 'health' };

let image: EmbedImage;
let root: string;
let sandbox: Sandbox;
let local: OnnxModel;

beforeAll(async () => {
  console.log('Building the embed image: minutes the first time, seconds from the cache');
  image = await buildEmbedImage();
  const opened = await image.open();
  root = opened.root;
  sandbox = await Sandbox.start(image, root);
  local = await OnnxModel.load(MODEL);
  return async () => {
    await sandbox.stop();
    await opened.close();
  };
});

describe('the embed image', () => {
  afterAll(() => printContent(root));

  it('has ONNX Runtime for its own platform only', () => {
    const files = readdirSync(join(root, TASK), { recursive: true }) as string[];

    const libraries = files.filter((file) => /\.(so[.\d]*|dylib|dll)$|onnxruntime.*\.node$/.test(file));

    const folder = `node_modules/onnxruntime-node/bin/napi-v6/linux/${process.arch}`;
    expect(libraries.sort()).toEqual([`${folder}/libonnxruntime.so.1`, `${folder}/onnxruntime_binding.node`]);
  });

  it('has nothing that only its building needs', () => {
    const packages = readdirSync(join(root, TASK, 'node_modules'));

    expect(packages.sort()).toEqual(['aws-lambda-ric', 'onnxruntime-common', 'onnxruntime-node']);
    expect(readdirSync(join(root, TASK)).sort()).toEqual(['lambda.mjs', 'models', 'node_modules']);
    expect(megabytesOf(root, [TASK])).toBeLessThan(60);
  });
});

describe('the embed function in its image', () => {
  it('answers a health probe with the model that it runs', async () => {
    const answer = await sandbox.invoke(PROBE);

    expect(answer).toEqual({ status: 'ok', modelId: local.model.id, sha256: local.model.sha256 });
  });

  it('gives the vectors that the model gives in this process', async () => {
    const pcm = window(60);

    const answer = await sandbox.invoke({ modelId: local.model.id, pcm: encodePcm(pcm) });

    expect(answer).toMatchObject({ modelId: local.model.id, sha256: local.model.sha256, dimension: 128 });
    expect(maxDifference(decodeVectors(answer.vectors as string), await local.embed(pcm))).toBeLessThan(1e-6);
  });

  it('gives them through the client of the scan function, which splits what Lambda would refuse', async () => {
    const pcm = window(900);
    const { embedder, payloads } = client(sandbox);

    const vectors = await embedder.embed(pcm);

    expect(payloads.length).toBeGreaterThan(1);
    expect(Math.max(...payloads)).toBeLessThan(INVOKE_PAYLOAD_BYTES);
    // Windows of other lengths go other ways through the same sums.
    expect(maxDifference(vectors, await local.embed(pcm))).toBeLessThan(1e-5);
  });

  it.each([
    ['is no request', { hello: 'world' }, /not an embed request.*modelId/s],
    ['is no JSON', 'hello', /not valid JSON/],
    ['has PCM that is not base64', { modelId: 'refrain-fp-1', pcm: '~' }, /not an embed request.*pcm/s],
    [
      'asks for another model',
      { modelId: 'other', pcm: '' },
      /runs refrain-fp-1.*asked for other.*deploy both/,
    ],
    [
      'is not a window of whole segments',
      { modelId: 'refrain-fp-1', pcm: 'AAAA' },
      /window of whole segments/,
    ],
  ])('says what is wrong with a payload that %s, and goes on', async (_, payload, message) => {
    const answer = await sandbox.invoke(payload);

    expect(answer.errorMessage).toMatch(message);
    expect(answer).not.toHaveProperty('vectors');
    expect(await sandbox.invoke(PROBE)).toMatchObject({ status: 'ok' });
  });

  it('embeds nothing of a payload that is too large, and goes on', async () => {
    const pcm = encodePcm(window(300));
    expect(pcm.length).toBeGreaterThan(INVOKE_PAYLOAD_BYTES);

    // Lambda refuses it before the function hears of it; the emulator cuts it off.
    const answer = await sandbox.invoke({ modelId: local.model.id, pcm });

    expect(answer).toMatchObject({ errorType: 'SyntaxError', errorMessage: expect.stringMatching(/JSON/) });
    expect(answer).not.toHaveProperty('vectors');
    expect(await sandbox.invoke(PROBE)).toMatchObject({ status: 'ok' });
  });

  it('does not start with a damaged model, and says why', async () => {
    const opened = await image.open();
    onTestFinished(opened.close);
    const path = join(opened.root, TASK, MODEL, 'model.onnx');
    const graph = readFileSync(path);
    graph[graph.length >> 1]! ^= 1;
    writeFileSync(path, graph);
    const damaged = await Sandbox.start(image, opened.root);
    onTestFinished(() => damaged.stop());

    const answer = await damaged.invoke(PROBE);

    expect(answer).toMatchObject({
      errorType: 'ModelError',
      errorMessage: expect.stringMatching(
        /model\.onnx is not the graph that model\.json names: its SHA-256 is/,
      ),
    });
  });

  it('starts within a few seconds', async () => {
    const minute = { modelId: local.model.id, pcm: encodePcm(window(116)) };
    const times = { coldMs: [] as number[], warmMs: [] as number[], minuteMs: [] as number[] };

    for (let round = 0; round < 3; round++) {
      const fresh = await Sandbox.start(image, root);
      onTestFinished(() => fresh.stop());
      times.coldMs.push(await millisecondsOf(() => fresh.invoke(PROBE)));
      times.warmMs.push(await millisecondsOf(() => fresh.invoke(PROBE)));
      await fresh.invoke(minute);
      times.minuteMs.push(await millisecondsOf(() => fresh.invoke(minute)));
      await fresh.stop();
    }

    printTimes(times);
    // Lambda grants ten seconds to the start of a function.
    expect(Math.min(...times.coldMs)).toBeLessThan(10_000);
  });
});

/** Music that fills so many segments, as it sounds after its way through the protocol. */
function window(segments: number): Float32Array {
  const grid = new SegmentGrid(local.model);
  const samples = grid.samplesFor(segments);
  return decodePcm(encodePcm(music(Math.ceil(samples / grid.sampleRate)).subarray(0, samples)));
}

/** The scan function's client, and the bytes of each payload that it sent. */
function client(to: Sandbox): { embedder: LambdaEmbedder; payloads: number[] } {
  const payloads: number[] = [];
  const lambda = new LambdaClient({
    region: 'us-east-1',
    endpoint: to.endpoint,
    credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
    // A sandbox serves one call at a time. Lambda starts another; the emulator breaks.
    requestHandler: new NodeHttpHandler({ httpAgent: { maxSockets: 1 } }),
  });
  lambda.middlewareStack.add(
    (next) => (args) => {
      payloads.push((args.input as { Payload: string }).Payload.length);
      return next(args);
    },
    { step: 'initialize' },
  );
  return { embedder: new LambdaEmbedder(lambda, { functionName: 'function', model: local.model }), payloads };
}

function maxDifference(a: Float32Array, b: Float32Array): number {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY;
  return a.reduce((largest, value, i) => Math.max(largest, Math.abs(value - b[i]!)), 0);
}

async function millisecondsOf(work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await work();
  return performance.now() - startedAt;
}
