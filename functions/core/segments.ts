/** Embeddings of consecutive or chosen segments of one file: row `r` of `vectors` belongs to `segments[r]`. */
export interface SegmentVectors {
  segments: Uint32Array;
  /** `segments.length * dimension` values, row by row, L2-normalised. */
  vectors: Float32Array;
}

/** One catalogue segment returned by k-NN for one upload segment. */
export interface Hit {
  referenceId: string;
  segment: number;
  /** Cosine, -1..1. */
  similarity: number;
}
