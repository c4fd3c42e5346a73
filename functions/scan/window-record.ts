import { deserialize, serialize } from 'node:v8';
import type { UploadSegments } from '../core/alignment/index.ts';
import type { TimeSpan } from '../core/span.ts';
import type { Hit } from '../ports/catalogue.ts';

/** What one window of an upload yielded: its audible segments, their embeddings and their hits. */
export interface WindowRecord extends UploadSegments {
  undecodable: TimeSpan[];
}

/** Layout on disk: columns instead of objects (ten times smaller), embeddings as int8 like the catalogue's. */
interface Stored {
  segments: Uint32Array;
  vectors: Int8Array;
  referenceIds: string[];
  hitsPerRow: Uint8Array;
  hitReference: Uint32Array;
  hitSegment: Uint32Array;
  hitSimilarity: Float32Array;
  undecodable: TimeSpan[];
}

export function encodeWindow({ segments, vectors, hits, undecodable }: WindowRecord): Uint8Array {
  const flat = hits.flat();
  const referenceIds = [...new Set(flat.map((hit) => hit.referenceId))];
  const numberOf = new Map(referenceIds.map((id, number) => [id, number]));
  return serialize({
    segments,
    vectors: Int8Array.from(vectors, (value) => Math.round(value * 127)),
    referenceIds,
    hitsPerRow: Uint8Array.from(hits, (row) => row.length),
    hitReference: Uint32Array.from(flat, (hit) => numberOf.get(hit.referenceId)!),
    hitSegment: Uint32Array.from(flat, (hit) => hit.segment),
    hitSimilarity: Float32Array.from(flat, (hit) => hit.similarity),
    undecodable,
  } satisfies Stored);
}

export function decodeWindow(data: Uint8Array): WindowRecord {
  const stored = deserialize(data) as Stored;
  let next = 0;
  const hits = Array.from(stored.hitsPerRow, (count) =>
    Array.from({ length: count }, (): Hit => {
      const i = next++;
      return {
        referenceId: stored.referenceIds[stored.hitReference[i]!]!,
        segment: stored.hitSegment[i]!,
        similarity: stored.hitSimilarity[i]!,
      };
    }),
  );
  return {
    segments: stored.segments,
    vectors: Float32Array.from(stored.vectors, (value) => value / 127),
    hits,
    undecodable: stored.undecodable,
  };
}

/** Joins the windows of one pass into one upload; segments keep their global numbers. */
export function joinWindows(windows: readonly WindowRecord[], dimension: number): WindowRecord {
  const rows = windows.reduce((sum, window) => sum + window.segments.length, 0);
  const segments = new Uint32Array(rows);
  const vectors = new Float32Array(rows * dimension);
  let row = 0;
  for (const window of windows) {
    segments.set(window.segments, row);
    vectors.set(window.vectors, row * dimension);
    row += window.segments.length;
  }
  return {
    segments,
    vectors,
    hits: windows.flatMap((window) => window.hits),
    undecodable: windows.flatMap((window) => window.undecodable),
  };
}
