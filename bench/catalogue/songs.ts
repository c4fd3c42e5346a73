import { EigenvalueDecomposition, Matrix } from 'ml-matrix';
import type { Reference } from '../../functions/core/reference.ts';
import { QUANTISED_ONE, type SegmentVectors } from '../../functions/core/segments.ts';
import type { Catalogue } from '../../functions/ports/catalogue.ts';
import type { ReferenceStore } from '../../functions/ports/stores.ts';
import { Random } from '../accuracy/random.ts';

/** A reference with its segments. */
export interface Song extends SegmentVectors {
  reference: Reference;
}

/**
 * Real songs, and as many mirror images of all of them as make up the segments.
 *
 * A mirror image flips the signs of the vectors along some of the catalogue's principal axes, drawn by chance for each
 * image. That keeps every distance within it: songs, their repeats, and the songs beside them. It lies elsewhere, but
 * crowds the same directions as all music does. A rotation drawn by chance would spread it evenly over all dimensions,
 * where neighbours are further apart and easier to tell.
 */
export function manySongs(real: readonly Song[], segments: number, dimension: number): Song[] {
  const axes = principalAxes(real, dimension);
  const songs: Song[] = [];
  let left = segments;
  for (let image = 0; left > 0; image++) {
    const mirror = image === 0 ? undefined : mirrorAlong(axes, new Random('mirror image', image));
    for (const song of real) {
      const rows = Math.min(left, song.segments.length);
      if (rows === 0) break;
      left -= rows;
      const vectors = song.vectors.subarray(0, rows * dimension);
      songs.push({
        reference: mirror
          ? { ...song.reference, referenceId: `${song.reference.referenceId} (image ${image})` }
          : song.reference,
        segments: song.segments.subarray(0, rows),
        vectors: mirror ? applied(mirror, vectors, dimension) : vectors,
      });
    }
  }
  return songs;
}

/**
 * The songs of a local store, in the order of the ids. It holds vectors as bytes; half a step of chance is added to
 * each value, or bytes would look lossless here.
 */
export async function songsOf(
  store: { references: ReferenceStore; catalogue: Catalogue },
  ids: readonly string[],
  dimension: number,
): Promise<Song[]> {
  const random = new Random('what rounding took');
  const songs: Song[] = [];
  for (const id of ids) {
    const reference = await store.references.get(id);
    if (reference?.state !== 'active') continue;
    const { segments, vectors: stored } = await store.catalogue.vectorsOf(id, 0, 0xffff_ffff);
    const vectors = Float32Array.from(stored, (value) => value / QUANTISED_ONE);
    for (let start = 0; start < vectors.length; start += dimension) {
      const vector = vectors.subarray(start, start + dimension);
      for (let i = 0; i < dimension; i++) vector[i]! += random.between(-0.5, 0.5) / QUANTISED_ONE;
      const length = Math.sqrt(vector.reduce((sum, x) => sum + x * x, 0));
      for (let i = 0; i < dimension; i++) vector[i]! /= length;
    }
    songs.push({ reference, segments, vectors });
  }
  return songs;
}

/** The eigenvectors of the second moments, as columns. */
function principalAxes(songs: readonly Song[], dimension: number): Matrix {
  const moments = Matrix.zeros(dimension, dimension);
  for (const { vectors } of songs) {
    // Every eighth segment is enough to know the directions, and neighbours overlap.
    for (let start = 0; start < vectors.length; start += 8 * dimension) {
      for (let i = 0; i < dimension; i++) {
        for (let j = 0; j < dimension; j++) {
          moments.set(i, j, moments.get(i, j) + vectors[start + i]! * vectors[start + j]!);
        }
      }
    }
  }
  return new EigenvalueDecomposition(moments, { assumeSymmetric: true }).eigenvectorMatrix;
}

/** `axes * signs * axes^T`, row by row. */
function mirrorAlong(axes: Matrix, random: Random): Float64Array {
  const signs = Array.from({ length: axes.columns }, () => random.either(1, -1));
  return Float64Array.from(axes.mmul(Matrix.diag(signs)).mmul(axes.transpose()).to1DArray());
}

function applied(matrix: Float64Array, vectors: Float32Array, dimension: number): Float32Array {
  const out = new Float32Array(vectors.length);
  for (let start = 0; start < vectors.length; start += dimension) {
    for (let i = 0; i < dimension; i++) {
      let sum = 0;
      for (let j = 0; j < dimension; j++) sum += matrix[i * dimension + j]! * vectors[start + j]!;
      out[start + i] = sum;
    }
  }
  return out;
}
