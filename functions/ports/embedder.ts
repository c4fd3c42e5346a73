import type { ModelManifest } from '../core/model.ts';

export interface Embedder {
  readonly model: ModelManifest;

  /**
   * Embeds a window of whole segments.
   * @param pcm mono PCM at the model's rate, exactly `grid.samplesFor(n)` samples
   * @returns `n * dimension` values, row by row, each row of length 1 (L2)
   */
  embed(pcm: Float32Array): Promise<Float32Array>;
}
