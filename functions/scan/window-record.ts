import { deserialize, serialize } from 'node:v8';
import type { UploadSegments } from '../core/alignment/index.ts';
import type { TimeSpan } from '../core/span.ts';
import type { Hit } from '../ports/catalogue.ts';

/** What one window of an upload yielded: its audible segments, their embeddings and their hits. */
export interface WindowRecord extends UploadSegments {
  undecodable: TimeSpan[];
}

/** Columns instead of objects (ten times smaller), embeddings as int8 like the catalogue's. */
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

/** A window as it is stored, and as a scan keeps it until all of the upload was heard: some 50 kB a minute. */
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

/** Joins encoded windows, in order, into one upload; segments keep their global numbers. */
export function joinWindows(windows: readonly Uint8Array[], dimension: number): WindowRecord {
  const stored = windows.map((data) => deserialize(data) as Stored);
  const rows = stored.reduce((sum, { segments }) => sum + segments.length, 0);
  const joined: WindowRecord = {
    segments: new Uint32Array(rows),
    vectors: new Float32Array(rows * dimension),
    hits: [],
    undecodable: [],
  };
  for (const window of stored) {
    const row = joined.hits.length;
    joined.segments.set(window.segments, row);
    for (let i = 0; i < window.vectors.length; i++) {
      joined.vectors[row * dimension + i] = window.vectors[i]! / 127;
    }
    joined.hits.push(...hitsOf(window));
    joined.undecodable.push(...window.undecodable);
  }
  return joined;
}

function hitsOf(window: Stored): Hit[][] {
  let next = 0;
  return Array.from(window.hitsPerRow, (count) =>
    Array.from({ length: count }, (): Hit => {
      const i = next++;
      return {
        referenceId: window.referenceIds[window.hitReference[i]!]!,
        segment: window.hitSegment[i]!,
        similarity: window.hitSimilarity[i]!,
      };
    }),
  );
}
