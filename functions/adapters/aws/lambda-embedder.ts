import {
  InvokeCommand,
  type InvokeCommandOutput,
  type LambdaClient,
  LambdaServiceException,
} from '@aws-sdk/client-lambda';
import { INVOKE_PAYLOAD_BYTES } from '../../constants.ts';
import { RefrainError } from '../../core/errors.ts';
import type { ModelManifest } from '../../core/model.ts';
import { SegmentGrid } from '../../core/segment-grid.ts';
import { decodeVectors, EmbedResponse, encodePcm } from '../../embed/protocol.ts';
import type { Embedder } from '../../ports/embedder.ts';
import { forEachConcurrently } from '../../steps/pool.ts';
import { isNetworkError, type RetryPolicy, withRetries } from './retry.ts';

/** The embed function failed, or answered something that cannot be used. */
export class EmbedError extends RefrainError {
  /** Whether another try may help. */
  readonly transient: boolean;

  constructor(message: string, transient: boolean, options?: ErrorOptions) {
    super('EMBED', message, options);
    this.transient = transient;
  }
}

export interface LambdaEmbedderSettings {
  /** Name or ARN of the embed function. */
  functionName: string;
  model: ModelManifest;
  retry?: RetryPolicy;
}

/** Calls for one window at the same time. */
const CONCURRENT_CALLS = 8;

/** Room for the JSON around the numbers, bytes. */
const ENVELOPE_BYTES = 1024;
const base64Bytes = (bytes: number) => Math.ceil(bytes / 3) * 4;

/** Errors of the function itself that say that caller and function do not fit together. */
const PERMANENT = new Set(['RefrainError', 'ModelError', 'RangeError', 'TypeError']);

/**
 * Embeds with the embed function. A window that exceeds Lambda's payload limits, there or back, goes in several
 * calls at once; the parts share the samples that their segments share, so that splitting changes nothing.
 */
export class LambdaEmbedder implements Embedder {
  readonly model: ModelManifest;
  readonly #client: LambdaClient;
  readonly #settings: LambdaEmbedderSettings;
  readonly #grid: SegmentGrid;
  readonly #segmentsPerCall: number;

  constructor(client: LambdaClient, settings: LambdaEmbedderSettings) {
    this.model = settings.model;
    this.#client = client;
    this.#settings = settings;
    this.#grid = new SegmentGrid(settings.model);
    this.#segmentsPerCall = segmentsPerCall(this.#grid, settings.model.dimension);
  }

  /** @throws EmbedError when no usable answer came within the retry budget */
  async embed(pcm: Float32Array): Promise<Float32Array> {
    const segments = this.#grid.segmentsIn(pcm.length);
    if (segments === 0 || pcm.length !== this.#grid.samplesFor(segments)) {
      throw new RangeError(`a window of whole segments is needed, not ${pcm.length} samples`);
    }
    const vectors = new Float32Array(segments * this.model.dimension);
    const parts = Array.from({ length: Math.ceil(segments / this.#segmentsPerCall) }, (_, part) => part);
    await forEachConcurrently(parts, CONCURRENT_CALLS, async (part) => {
      const first = part * this.#segmentsPerCall;
      const count = Math.min(this.#segmentsPerCall, segments - first);
      const start = this.#grid.startSample(first);
      const samples = pcm.subarray(start, start + this.#grid.samplesFor(count));
      vectors.set(await this.#embedPart(samples, count), first * this.model.dimension);
    });
    return vectors;
  }

  #embedPart(pcm: Float32Array, segments: number): Promise<Float32Array> {
    const payload = JSON.stringify({ modelId: this.model.id, pcm: encodePcm(pcm) });
    return withRetries(
      async () => {
        const answer = await this.#client.send(
          new InvokeCommand({ FunctionName: this.#settings.functionName, Payload: payload }),
        );
        return this.#vectorsOf(answer, segments);
      },
      isTransient,
      this.#settings.retry,
    );
  }

  #vectorsOf(answer: InvokeCommandOutput, segments: number): Float32Array {
    const text = Buffer.from(answer.Payload ?? []).toString();
    if (answer.FunctionError) throw functionError(text);

    const response = EmbedResponse.safeParse(parseJson(text));
    if (!response.success) throw this.#unusable(`something else than vectors: ${text.slice(0, 200)}`);
    const { modelId, sha256, dimension } = response.data;
    if (modelId !== this.model.id || sha256 !== this.model.sha256) {
      throw new EmbedError(
        `the embed function runs ${modelId} (${sha256.slice(0, 12)}), but ${this.model.id} ` +
          `(${this.model.sha256.slice(0, 12)}) is expected: deploy both together`,
        false,
      );
    }
    const vectors = decodeVectors(response.data.vectors);
    if (dimension !== this.model.dimension || vectors.length !== segments * dimension) {
      throw this.#unusable(`${vectors.length} values for ${segments} segments of ${this.model.dimension}`);
    }
    if (!vectors.every(Number.isFinite)) throw this.#unusable('values that are not finite');
    return vectors;
  }

  /** Might be a sandbox gone bad: another one may do better. */
  #unusable(what: string): EmbedError {
    return new EmbedError(`${this.#settings.functionName} returned ${what}`, true);
  }
}

function segmentsPerCall(grid: SegmentGrid, dimension: number): number {
  const room = INVOKE_PAYLOAD_BYTES - ENVELOPE_BYTES;
  const fits = (segments: number) =>
    base64Bytes(grid.samplesFor(segments) * 2) <= room && base64Bytes(segments * dimension * 4) <= room;
  let segments = Math.floor(room / base64Bytes(grid.hopSamples * 2));
  while (segments > 1 && !fits(segments)) segments--;
  if (!fits(1)) throw new EmbedError('one segment of this model exceeds the payload limit of Lambda', false);
  return segments;
}

/** What the function threw, or how Lambda ended it (time-out, out of memory, crash). */
function functionError(text: string): EmbedError {
  const { errorType = 'unknown', errorMessage = text.slice(0, 200) } = (parseJson(text) ?? {}) as {
    errorType?: string;
    errorMessage?: string;
  };
  return new EmbedError(
    `the embed function failed: ${errorType}: ${errorMessage}`,
    !PERMANENT.has(errorType),
  );
}

function isTransient(error: unknown): boolean {
  if (error instanceof EmbedError) return error.transient;
  if (!(error instanceof LambdaServiceException)) return isNetworkError(error);
  const status = error.$metadata.httpStatusCode ?? 500;
  return status === 429 || status >= 500;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
