import type { SegmentGrid } from '../../functions/core/segment-grid.ts';
import type { SegmentVectors } from '../../functions/core/segments.ts';
import type { Query } from '../accuracy/render.ts';
import { dot } from './exact.ts';
import type { Song } from './songs.ts';

/** A query segment, and which segments of which song sound there. */
export interface Aimed {
  vector: Float32Array;
  referenceId: string;
  segments: number[];
}

/** Of an excerpt's segments, those whose middle lies in what was cut from a song, with the two nearest of its segments. */
export function aimedSegments(
  { track, pieces }: Query,
  { segments, vectors }: SegmentVectors,
  grid: SegmentGrid,
): Aimed[] {
  const half = grid.segmentMs / 2000;
  const dimension = vectors.length / segments.length;
  return [...segments].flatMap((segment, row) => {
    const middle = grid.startMs(segment) / 1000 + half;
    const piece = pieces.find(({ start, end }) => start <= middle && middle < end);
    if (!track || !piece) return [];
    const place = (piece.reference + piece.speed * (middle - piece.start) - half) / (grid.hopMs / 1000);
    return [
      {
        vector: vectors.subarray(row * dimension, (row + 1) * dimension),
        referenceId: track.id,
        segments: [Math.floor(place), Math.ceil(place)],
      },
    ];
  });
}

/**
 * How many segments of other songs are nearer than the right one, when the catalogue has grown to each size: what has
 * `k` of them is not found among `k` neighbours, however good the index is.
 *
 * @returns a row for each size, with a count for each query whose song is in the catalogue
 */
export function rivalsBySize(
  songs: readonly Song[],
  queries: readonly Aimed[],
  sizes: readonly number[],
  dimension: number,
): Uint32Array[] {
  const known = new Map(songs.map((song) => [song.reference.referenceId, song]));
  const aimed = queries.flatMap(({ vector, referenceId, segments }) => {
    const song = known.get(referenceId);
    const rows = segments.map((segment) => song?.segments.indexOf(segment) ?? -1).filter((row) => row >= 0);
    const similarities = rows.map((row) => dot(song!.vectors, row * dimension, vector, 0, dimension));
    return rows.length > 0 ? [{ vector, referenceId, right: Math.max(...similarities) }] : [];
  });
  const rivals = new Uint32Array(aimed.length);
  const bySize: Uint32Array[] = [];
  let seen = 0;
  for (const { reference, segments, vectors } of songs) {
    for (let row = 0; row < segments.length; row++) {
      for (const [i, { vector, referenceId, right }] of aimed.entries()) {
        if (referenceId === reference.referenceId) continue;
        if (dot(vectors, row * dimension, vector, 0, dimension) > right) rivals[i]!++;
      }
      if (++seen === sizes[bySize.length]) bySize.push(rivals.slice());
    }
  }
  return bySize;
}
