import { deserialize, serialize } from 'node:v8';
import type { UploadSegments } from '../core/alignment/index.ts';
import { type Hit, hitColumns, quantise, type SegmentVectors } from '../core/segments.ts';
import type { TimeSpan } from '../core/span.ts';

/** What windows of an upload yielded: audible segments, their embeddings and their hits, and what could not be read. */
export interface WindowRecord extends UploadSegments {
  undecodable: TimeSpan[];
}

/** What was heard in one window. */
export interface HeardWindow extends SegmentVectors {
  /** Row by row, best first. */
  hits: Hit[][];
  undecodable: TimeSpan[];
}

/** A window as it is stored, and as a scan keeps it until all of the upload was heard: some 50 kB a minute. */
export function encodeWindow({ segments, vectors, hits, undecodable }: HeardWindow): Uint8Array {
  const record: WindowRecord = {
    segments,
    vectors: quantise(vectors),
    hits: hitColumns(hits),
    undecodable,
  };
  return serialize(record);
}

/** Joins encoded windows, in order, into one upload; segments keep their global numbers. */
export function joinWindows(encoded: readonly Uint8Array[]): WindowRecord {
  const windows = encoded.map((data) => deserialize(data) as WindowRecord);
  const hits = windows.map((window) => window.hits);
  const numbers = new Map<string, number>();
  for (const id of hits.flatMap(({ referenceIds }) => referenceIds)) {
    if (!numbers.has(id)) numbers.set(id, numbers.size);
  }
  let before = 0;
  const starts = hits.map(({ starts }) => {
    const shifted = starts.subarray(1).map((end) => before + end);
    before += starts.at(-1)!;
    return shifted;
  });
  return {
    segments: concatenated(
      Uint32Array,
      windows.map(({ segments }) => segments),
    ),
    vectors: concatenated(
      Int8Array,
      windows.map(({ vectors }) => vectors),
    ),
    hits: {
      starts: concatenated(Uint32Array, [Uint32Array.of(0), ...starts]),
      reference: concatenated(
        Uint32Array,
        hits.map(({ reference, referenceIds }) =>
          reference.map((number) => numbers.get(referenceIds[number]!)!),
        ),
      ),
      segment: concatenated(
        Uint32Array,
        hits.map(({ segment }) => segment),
      ),
      similarity: concatenated(
        Float32Array,
        hits.map(({ similarity }) => similarity),
      ),
      referenceIds: [...numbers.keys()],
    },
    undecodable: windows.flatMap(({ undecodable }) => undecodable),
  };
}

type Column = Uint32Array | Int8Array | Float32Array;

function concatenated<C extends Column>(make: new (length: number) => C, parts: readonly C[]): C {
  const whole = new make(parts.reduce((sum, { length }) => sum + length, 0));
  let filled = 0;
  for (const part of parts) {
    whole.set(part, filled);
    filled += part.length;
  }
  return whole;
}
