import { InferenceSession, Tensor } from 'onnxruntime-node';
import { ModelError } from '../core/errors.ts';
import type { ModelManifest } from '../core/model.ts';
import { SegmentGrid } from '../core/segment-grid.ts';
import type { Embedder } from '../ports/embedder.ts';
import { readModelFolder } from './model-folder.ts';

export interface OnnxOptions {
  /** Threads within one inference; 0 lets ONNX Runtime take all cores. Default 1. */
  threads?: number;
}

/** Segments that enter a `segments` graph in one run: enough to keep the cores busy, little enough for the cache. */
const BATCH = 32;

/** Runs a model folder with ONNX Runtime: PCM in, L2-normalised segment embeddings out. */
export class OnnxModel implements Embedder {
  readonly model: ModelManifest;
  readonly #grid: SegmentGrid;
  readonly #session: InferenceSession;

  private constructor(model: ModelManifest, session: InferenceSession) {
    this.model = model;
    this.#grid = new SegmentGrid(model);
    this.#session = session;
  }

  /**
   * Loads and checks a model folder.
   * @throws ModelError when a file is damaged, or the graph lacks the tensors that the manifest names
   */
  static async load(folder: string, { threads = 1 }: OnnxOptions = {}): Promise<OnnxModel> {
    const { manifest, graph } = await readModelFolder(folder);
    // ONNX Runtime would write down what it does and report it to its makers. It reads this when its first session is made.
    process.env.ORT_DISABLE_TELEMETRY = '1';
    let session: InferenceSession;
    try {
      session = await InferenceSession.create(graph, {
        intraOpNumThreads: threads,
        interOpNumThreads: 1,
        graphOptimizationLevel: 'all',
        // Windows differ in length; the arena would keep the largest of every shape it has seen.
        enableCpuMemArena: false,
      });
    } catch (cause) {
      throw new ModelError(`ONNX Runtime refuses ${manifest.id}: ${(cause as Error).message}`, { cause });
    }
    for (const [what, name, names] of [
      ['input', manifest.input.name, session.inputNames],
      ['output', manifest.output.name, session.outputNames],
    ] as const) {
      if (!names.includes(name)) {
        throw new ModelError(`model ${manifest.id} has no ${what} "${name}", only ${names.join(', ')}`);
      }
    }
    return new OnnxModel(manifest, session);
  }

  async embed(pcm: Float32Array): Promise<Float32Array> {
    const segments = this.#grid.segmentsIn(pcm.length);
    if (segments === 0 || pcm.length !== this.#grid.samplesFor(segments)) {
      throw new RangeError(
        `a window of whole segments is needed: ${pcm.length} samples are not (n - 1) * ` +
          `${this.#grid.hopSamples} + ${this.#grid.segmentSamples}`,
      );
    }
    const vectors =
      this.model.input.layout === 'window'
        ? await this.#run(pcm, [1, pcm.length])
        : await this.#embedSegmentwise(pcm, segments);
    this.#check(vectors, segments);
    return vectors;
  }

  async #embedSegmentwise(pcm: Float32Array, segments: number): Promise<Float32Array> {
    const { segmentSamples, hopSamples } = this.#grid;
    const vectors = new Float32Array(segments * this.model.dimension);
    for (let first = 0; first < segments; first += BATCH) {
      const count = Math.min(BATCH, segments - first);
      const batch = new Float32Array(count * segmentSamples);
      for (let i = 0; i < count; i++) {
        const start = (first + i) * hopSamples;
        batch.set(pcm.subarray(start, start + segmentSamples), i * segmentSamples);
      }
      vectors.set(await this.#run(batch, [count, segmentSamples]), first * this.model.dimension);
    }
    return vectors;
  }

  async #run(pcm: Float32Array, shape: number[]): Promise<Float32Array> {
    const { input, output } = this.model;
    const results = await this.#session.run({ [input.name]: new Tensor('float32', pcm, shape) }, [
      output.name,
    ]);
    return results[output.name]!.data as Float32Array;
  }

  #check(vectors: Float32Array, segments: number): void {
    const expected = segments * this.model.dimension;
    if (vectors.length !== expected) {
      throw new ModelError(
        `model ${this.model.id} returned ${vectors.length} values for ${segments} segments, expected ${expected}`,
      );
    }
    if (!vectors.every(Number.isFinite)) {
      throw new ModelError(`model ${this.model.id} returned values that are not finite`);
    }
  }
}
