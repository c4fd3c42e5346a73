import type { Song } from './songs.ts';

/** Names one segment. */
export const nameOf = (referenceId: string, segment: number): string => `${referenceId}#${segment}`;

/** The `k` nearest segments for each query, best first, by comparing it with every one of them. */
export function exactNearest(
  songs: readonly Song[],
  queries: Float32Array,
  k: number,
  dimension: number,
): string[][] {
  const nearest = listsFor(queries, dimension, k);
  for (const { reference, segments, vectors } of songs) {
    for (let row = 0; row < segments.length; row++) {
      for (let query = 0; query < nearest.length; query++) {
        const similarity = dot(vectors, row * dimension, queries, query * dimension, dimension);
        nearest[query]!.offer(similarity, () => nameOf(reference.referenceId, segments[row]!));
      }
    }
  }
  return nearest.map((list) => list.names);
}

/**
 * The best that one bit per value could do: the `candidates` nearest by sign bits, found by comparing with all of them,
 * and the `k` nearest of those by the vectors themselves.
 */
export function nearestBySigns(
  songs: readonly Song[],
  queries: Float32Array,
  k: number,
  candidates: number,
  dimension: number,
): string[][] {
  const wanted = signsOf(queries, dimension);
  const words = dimension / 32;
  const near = listsFor<[Song, number]>(queries, dimension, candidates);
  for (const song of songs) {
    const signs = signsOf(song.vectors, dimension);
    for (let row = 0; row < song.segments.length; row++) {
      for (let query = 0; query < near.length; query++) {
        let different = 0;
        for (let word = 0; word < words; word++) {
          different += ones(signs[row * words + word]! ^ wanted[query * words + word]!);
        }
        near[query]!.offer(-different, () => [song, row]);
      }
    }
  }
  return near.map(({ names }, query) => {
    const best = new Nearest<string>(k);
    for (const [{ reference, segments, vectors }, row] of names) {
      const similarity = dot(vectors, row * dimension, queries, query * dimension, dimension);
      best.offer(similarity, () => nameOf(reference.referenceId, segments[row]!));
    }
    return best.names;
  });
}

/** The best so far, best first. */
class Nearest<T> {
  readonly names: T[] = [];
  readonly #similarities: number[] = [];
  readonly #k: number;

  constructor(k: number) {
    this.#k = k;
  }

  offer(similarity: number, name: () => T): void {
    const known = this.#similarities;
    if (known.length === this.#k && similarity <= known.at(-1)!) return;
    let place = known.length;
    while (place > 0 && known[place - 1]! < similarity) place--;
    known.splice(place, 0, similarity);
    this.names.splice(place, 0, name());
    known.length = this.names.length = Math.min(this.#k, known.length);
  }
}

const listsFor = <T = string>(queries: Float32Array, dimension: number, k: number) =>
  Array.from({ length: queries.length / dimension }, () => new Nearest<T>(k));

export function dot(
  a: Float32Array,
  from: number,
  b: Float32Array,
  start: number,
  dimension: number,
): number {
  let [even, odd] = [0, 0];
  for (let i = 0; i < dimension; i += 2) {
    even += a[from + i]! * b[start + i]!;
    odd += a[from + i + 1]! * b[start + i + 1]!;
  }
  return even + odd;
}

function signsOf(vectors: Float32Array, dimension: number): Uint32Array {
  const words = new Uint32Array((vectors.length / dimension) * (dimension / 32));
  vectors.forEach((value, i) => {
    if (value > 0) words[i >> 5]! |= 1 << (i & 31);
  });
  return words;
}

/** How many bits of a word are set. */
function ones(word: number): number {
  let bits = word - ((word >>> 1) & 0x55555555);
  bits = (bits & 0x33333333) + ((bits >>> 2) & 0x33333333);
  return Math.imul((bits + (bits >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
