import type { ModelManifest } from './model.ts';

/**
 * The global grid of a file: segment `i` covers samples `[i * hop, i * hop + segment)`.
 *
 * Windows, retries and resumes all number segments on this one grid, so they can never disagree about time.
 */
export class SegmentGrid {
  readonly sampleRate: number;
  readonly segmentSamples: number;
  readonly hopSamples: number;

  constructor(model: Pick<ModelManifest, 'sampleRate' | 'segmentSamples' | 'hopSamples'>) {
    this.sampleRate = model.sampleRate;
    this.segmentSamples = model.segmentSamples;
    this.hopSamples = model.hopSamples;
  }

  get hopMs(): number {
    return (this.hopSamples * 1000) / this.sampleRate;
  }

  get segmentMs(): number {
    return (this.segmentSamples * 1000) / this.sampleRate;
  }

  /** How many whole segments fit into `samples`. */
  segmentsIn(samples: number): number {
    return samples < this.segmentSamples
      ? 0
      : 1 + Math.floor((samples - this.segmentSamples) / this.hopSamples);
  }

  /** How many samples `segments` consecutive segments span. */
  samplesFor(segments: number): number {
    return segments === 0 ? 0 : (segments - 1) * this.hopSamples + this.segmentSamples;
  }

  startSample(segment: number): number {
    return segment * this.hopSamples;
  }

  startMs(segment: number): number {
    return segment * this.hopMs;
  }

  /** The middle of a segment: the time its embedding speaks of. */
  centreMs(segment: number): number {
    return this.startMs(segment) + this.segmentMs / 2;
  }
}
