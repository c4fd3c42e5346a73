import type { Hit, QuantisedVectors, SegmentVectors } from '../core/segments.ts';

export type { Hit, QuantisedVectors, SegmentVectors } from '../core/segments.ts';

/** The searchable segments of all references, for one model. */
export interface Catalogue {
  /** Writes all segments of a reference; writing the same ones again changes nothing. Durable when it resolves. */
  add(referenceId: string, segments: SegmentVectors): Promise<void>;

  /** Removes every segment of a reference; resolves to how many there were. */
  remove(referenceId: string): Promise<number>;

  /**
   * The `k` nearest segments for each query row, best first.
   * @param queries `n * dimension` values, row by row
   */
  search(queries: Float32Array, k: number): Promise<Hit[][]>;

  /**
   * Vectors of a reference for the segments in `[from, to)` that exist (silent ones were never stored): quantised, as an
   * alignment compares with hundreds of references at a time.
   */
  vectorsOf(referenceId: string, from: number, to: number): Promise<QuantisedVectors>;

  /** How many segments and references are searchable, and a number that grows with every change. */
  stats(): Promise<{ segments: number; references: number; generation: number }>;
}
