/** Embeddings of consecutive or chosen segments of one file: row `r` of `vectors` belongs to `segments[r]`. */
export interface SegmentVectors {
  segments: Uint32Array;
  /** `segments.length * dimension` values, row by row, L2-normalised. */
  vectors: Float32Array;
}

/** The same at a quarter of the size, as embeddings are stored: `round(QUANTISED_ONE * x)`. */
export interface QuantisedVectors {
  segments: Uint32Array;
  vectors: Int8Array;
}

/**
 * What 1 becomes when it is quantised. No value of 128 comes near 1, so a byte would hold more; but every bit of it has to
 * be stored, and this is exact enough: a cosine is off by 0.003. One value takes 5.1 bits, when packed.
 */
export const QUANTISED_ONE = 96;

export function quantise(vectors: Float32Array): Int8Array<ArrayBuffer> {
  // A loop: Int8Array.from with a function takes ten times as long, and a scan quantises all that it compares with.
  const quantised = new Int8Array(vectors.length);
  for (let i = 0; i < vectors.length; i++) quantised[i] = Math.round(vectors[i]! * QUANTISED_ONE);
  return quantised;
}

/** One catalogue segment returned by k-NN for one upload segment. */
export interface Hit {
  referenceId: string;
  segment: number;
  /** Cosine, -1..1. */
  similarity: number;
}

/** The hits of consecutive rows as columns: an hour of upload has 150,000 of them, too many to be objects. */
export interface HitColumns {
  /** The hits of row `r` are `[starts[r], starts[r + 1])`, best first. */
  starts: Uint32Array;
  /** Which of `referenceIds`. */
  reference: Uint32Array;
  segment: Uint32Array;
  similarity: Float32Array;
  referenceIds: string[];
}

export function hitColumns(rows: readonly (readonly Hit[])[]): HitColumns {
  const flat = rows.flat();
  const numbers = new Map<string, number>();
  for (const { referenceId } of flat) {
    if (!numbers.has(referenceId)) numbers.set(referenceId, numbers.size);
  }
  let end = 0;
  return {
    starts: Uint32Array.from([0, ...rows.map((row) => (end += row.length))]),
    reference: Uint32Array.from(flat, ({ referenceId }) => numbers.get(referenceId)!),
    segment: Uint32Array.from(flat, ({ segment }) => segment),
    similarity: Float32Array.from(flat, ({ similarity }) => similarity),
    referenceIds: [...numbers.keys()],
  };
}

/** The hits of each row, best first: the other way round. */
export function hitRows({ starts, reference, segment, similarity, referenceIds }: HitColumns): Hit[][] {
  return Array.from(starts.subarray(1), (end, row) =>
    Array.from({ length: end - starts[row]! }, (_, i) => {
      const at = starts[row]! + i;
      return {
        referenceId: referenceIds[reference[at]!]!,
        segment: segment[at]!,
        similarity: similarity[at]!,
      };
    }),
  );
}
