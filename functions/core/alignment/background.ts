import type { HitColumns } from '../segments.ts';

/**
 * The cosine that chance reaches, per upload row: that of its last hit. Where even the last hit is a true one (loops,
 * many copies), what is usual in this upload stands in.
 */
export function backgroundOf({ starts, similarity }: HitColumns): Float32Array {
  const last = Float32Array.from(starts.subarray(1), (end, row) =>
    end > starts[row]! ? similarity[end - 1]! : 0,
  );
  const usual = last.toSorted()[Math.floor(last.length / 4)] ?? 0;
  return last.map((similarity) => Math.min(similarity, usual) - 0.01);
}
