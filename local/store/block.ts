import { constants, crc32, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { StoreError } from './errors.ts';

/** Consecutive catalogue rows of one reference: which segments they are, and their quantised vectors. */
export interface Block {
  segments: Uint32Array;
  /** `segments.length * dimension` values, row by row, quantised. */
  vectors: Int8Array<ArrayBuffer>;
}

/** A block as it lies in SQLite. Its entropy is about 5.1 bits a value, so compression saves a third. */
export interface StoredBlock {
  runs: Uint8Array;
  crc: number;
  vectors: Uint8Array;
}

/** How long one block may get: what is read at least to get at one vector. */
export const ROWS_PER_BLOCK = 4096;

export function encodeBlock({ segments, vectors }: Block): StoredBlock {
  const bytes = new Uint8Array(vectors.buffer, vectors.byteOffset, vectors.byteLength);
  const runs = encodeRuns(segments);
  return {
    runs,
    crc: crc32(bytes, crc32(runs)),
    vectors: zstdCompressSync(bytes, { params: { [constants.ZSTD_c_compressionLevel]: 1 } }),
  };
}

/** @throws StoreError DAMAGED_RECORD */
export function decodeBlock(stored: StoredBlock, dimension: number, what: string): Block {
  const segments = decodeRuns(stored.runs);
  const length = segments.length * dimension;
  let bytes: Uint8Array;
  try {
    // In one piece, with room to spare: when a piece is full, another one is begun, and all of them are copied.
    bytes = zstdDecompressSync(stored.vectors, { chunkSize: length + 64 });
  } catch (error) {
    throw damaged(what, error);
  }
  if (bytes.length !== length || crc32(bytes, crc32(stored.runs)) !== stored.crc) {
    throw damaged(what);
  }
  return { segments, vectors: new Int8Array(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.length) };
}

const damaged = (what: string, cause?: unknown) =>
  new StoreError('DAMAGED_RECORD', `The vectors of ${what} are damaged; remove it and register it again`, {
    cause,
  });

/** Scales every row to length 1, in place; returns the first row that has no length, if any. */
export function normaliseRows(vectors: Float32Array, dimension: number): number | undefined {
  for (let start = 0; start < vectors.length; start += dimension) {
    let square = 0;
    for (let i = start; i < start + dimension; i++) square += vectors[i]! * vectors[i]!;
    const length = Math.sqrt(square);
    if (!(length > 0 && length < Number.POSITIVE_INFINITY)) return start / dimension;
    for (let i = start; i < start + dimension; i++) vectors[i]! /= length;
  }
  return undefined;
}

/** Ascending segments as (first, length) pairs: most files are one run, and each silence adds one. */
function encodeRuns(segments: Uint32Array): Uint8Array {
  const runs: number[] = [];
  for (const segment of segments) {
    const last = runs.length - 2;
    if (last >= 0 && runs[last]! + runs[last + 1]! === segment) runs[last + 1]!++;
    else runs.push(segment, 1);
  }
  return new Uint8Array(Uint32Array.from(runs).buffer);
}

export function decodeRuns(bytes: Uint8Array): Uint32Array {
  const runs = new Uint32Array(bytes.slice().buffer, 0, Math.floor(bytes.length / 8) * 2);
  const segments: number[] = [];
  for (let i = 0; i < runs.length; i += 2) {
    for (let n = 0; n < runs[i + 1]!; n++) segments.push(runs[i]! + n);
  }
  return Uint32Array.from(segments);
}
