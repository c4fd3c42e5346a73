import { describe, expect, it } from 'vitest';
import { QUANTISED_ONE } from '../../functions/core/segments.ts';
import type { Catalogue, QuantisedVectors } from '../../functions/ports/catalogue.ts';
import { AWKWARD_NAMES, rowsOf, segmentVectors, unitVectors } from './fixtures.ts';

const DIMENSION = 32;
/** How far stored vectors and similarities may be off: a byte per value, in the worst case. */
const QUANTISATION = 0.02;

/**
 * What every catalogue must do.
 * @param makeCatalogue an empty catalogue for vectors of `dimension` values; called once per test
 */
export function describeCatalogueContract(
  name: string,
  makeCatalogue: (dimension: number) => Promise<Catalogue>,
): void {
  describe(`${name} as a catalogue`, () => {
    const make = () => makeCatalogue(DIMENSION);
    const pick = (vectors: Float32Array, ...rows: number[]) => rowsOf(vectors, DIMENSION, rows);

    it('is empty at first, and finds nothing', async () => {
      const catalogue = await make();

      expect(await catalogue.search(unitVectors(2, DIMENSION, 1), 5)).toEqual([[], []]);
      expect(await catalogue.stats()).toMatchObject({ segments: 0, references: 0 });
      expect(await catalogue.remove('unknown')).toBe(0);
      expect((await catalogue.vectorsOf('unknown', 0, 100)).segments).toHaveLength(0);
    });

    it('finds each segment as itself, with a similarity of one', async () => {
      const catalogue = await make();
      const song = segmentVectors(50, DIMENSION, 1);
      await catalogue.add('song', song);

      const hits = await catalogue.search(pick(song.vectors, 0, 17, 49), 1);

      expect(hits.map(([best]) => best?.segment)).toEqual([0, 17, 49]);
      for (const [best] of hits) {
        expect(best!.referenceId).toBe('song');
        expect(Math.abs(best!.similarity - 1)).toBeLessThan(QUANTISATION);
      }
    });

    it('gives the nearest of all references, best first, with their cosines', async () => {
      const catalogue = await make();
      const songs = [1, 2, 3].map((seed) => ({
        id: `song-${seed}`,
        ...segmentVectors(100, DIMENSION, seed),
      }));
      for (const { id, ...segments } of songs) await catalogue.add(id, segments);
      const query = unitVectors(1, DIMENSION, 99);
      const expected = songs
        .flatMap(({ id, segments, vectors }) =>
          [...segments].map((segment, row) => ({
            referenceId: id,
            segment,
            similarity: dot(query, pick(vectors, row)),
          })),
        )
        .sort((a, b) => b.similarity - a.similarity);

      const [hits] = await catalogue.search(query, 10);

      expect(hits).toHaveLength(10);
      expect(hits!.map((hit) => hit.similarity)).toEqual(
        hits!.map((hit) => hit.similarity).sort((a, b) => b - a),
      );
      // Quantisation may swap neighbours that are nearly the same distance away, no more.
      for (const [rank, hit] of hits!.entries()) {
        expect(Math.abs(hit.similarity - expected[rank]!.similarity)).toBeLessThan(QUANTISATION);
      }
      expect(hits![0]).toMatchObject({
        referenceId: expected[0]!.referenceId,
        segment: expected[0]!.segment,
      });
    });

    it('gives what there is when fewer than k are there', async () => {
      const catalogue = await make();
      await catalogue.add('song', segmentVectors(3, DIMENSION, 1));

      const hits = await catalogue.search(unitVectors(2, DIMENSION, 9), 20);

      expect(hits.map((row) => row.length)).toEqual([3, 3]);
    });

    it('answers no queries with no answers', async () => {
      const catalogue = await make();
      await catalogue.add('song', segmentVectors(3, DIMENSION, 1));

      expect(await catalogue.search(new Float32Array(0), 5)).toEqual([]);
    });

    it('answers a full window of queries, each in its row', async () => {
      const catalogue = await make();
      const song = segmentVectors(240, DIMENSION, 1);
      await catalogue.add('song', song);

      const hits = await catalogue.search(song.vectors, 3);

      expect(hits.map(([best]) => best!.segment)).toEqual([...song.segments]);
    });

    it('keeps one copy of what is added twice', async () => {
      const catalogue = await make();
      const song = segmentVectors(20, DIMENSION, 1);
      await catalogue.add('song', song);
      const before = await catalogue.stats();

      await catalogue.add('song', song);

      expect(await catalogue.stats()).toMatchObject({ segments: before.segments, references: 1 });
      const [hits] = await catalogue.search(pick(song.vectors, 5), 20);
      expect(hits!.filter((hit) => hit.segment === 5)).toHaveLength(1);
    });

    it('replaces segments that are added again with other vectors, and keeps the others', async () => {
      const catalogue = await make();
      const first = segmentVectors(10, DIMENSION, 1);
      const second = segmentVectors(5, DIMENSION, 2, 5);
      await catalogue.add('song', first);

      await catalogue.add('song', second);

      expect(await catalogue.stats()).toMatchObject({ segments: 10, references: 1 });
      const stored = await catalogue.vectorsOf('song', 0, 100);
      expect([...stored.segments]).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
      expectNear(pick(restored(stored), 0, 1, 2, 3, 4), pick(first.vectors, 0, 1, 2, 3, 4));
      expectNear(pick(restored(stored), 5, 6, 7, 8, 9), second.vectors);
    });

    it('forgets a removed reference at once, and no other', async () => {
      const catalogue = await make();
      const song = segmentVectors(30, DIMENSION, 1);
      const other = segmentVectors(30, DIMENSION, 2);
      await catalogue.add('song', song);
      await catalogue.add('other', other);

      const removed = await catalogue.remove('song');

      expect(removed).toBe(30);
      const hits = await catalogue.search(pick(song.vectors, 0, 1, 2), 60);
      expect(hits.flat().map((hit) => hit.referenceId)).not.toContain('song');
      expect(hits.map((row) => row.length)).toEqual([30, 30, 30]);
      expect((await catalogue.vectorsOf('song', 0, 100)).segments).toHaveLength(0);
      expect((await catalogue.search(pick(other.vectors, 7), 1))[0]![0]).toMatchObject({
        referenceId: 'other',
        segment: 7,
      });
      expect(await catalogue.remove('song')).toBe(0);
    });

    it('finds a reference again that was removed and added anew', async () => {
      const catalogue = await make();
      await catalogue.add('song', segmentVectors(10, DIMENSION, 1));
      await catalogue.remove('song');
      const anew = segmentVectors(8, DIMENSION, 2);

      await catalogue.add('song', anew);

      expect(await catalogue.stats()).toMatchObject({ segments: 8, references: 1 });
      expect((await catalogue.search(pick(anew.vectors, 3), 1))[0]![0]).toMatchObject({ segment: 3 });
    });

    it('gives stored vectors of a stretch, in order, without the segments that are missing', async () => {
      const catalogue = await make();
      const vectors = unitVectors(6, DIMENSION, 1);
      await catalogue.add('song', { segments: Uint32Array.of(2, 3, 4, 10, 11, 40_000), vectors });
      await catalogue.add('other', segmentVectors(20, DIMENSION, 2));

      const middle = await catalogue.vectorsOf('song', 3, 11);
      const all = await catalogue.vectorsOf('song', 0, 0xffff_ffff);

      expect([...middle.segments]).toEqual([3, 4, 10]);
      expectNear(restored(middle), pick(vectors, 1, 2, 3));
      expect([...all.segments]).toEqual([2, 3, 4, 10, 11, 40_000]);
      expectNear(restored(all), vectors);
      expect((await catalogue.vectorsOf('song', 5, 10)).segments).toHaveLength(0);
      expect((await catalogue.vectorsOf('song', 4, 4)).segments).toHaveLength(0);
    });

    it('adds nothing for a reference without segments', async () => {
      const catalogue = await make();

      await catalogue.add('silence', { segments: new Uint32Array(0), vectors: new Float32Array(0) });

      expect(await catalogue.stats()).toMatchObject({ segments: 0, references: 0 });
    });

    it('counts its generation up with every change', async () => {
      const catalogue = await make();
      const generation = async () => (await catalogue.stats()).generation;
      const generations = [await generation()];

      await catalogue.add('a', segmentVectors(3, DIMENSION, 1));
      generations.push(await generation());
      await catalogue.add('b', segmentVectors(3, DIMENSION, 2));
      generations.push(await generation());
      await catalogue.remove('a');
      generations.push(await generation());

      expect(generations).toEqual([...new Set(generations)].sort((a, b) => a - b));
      expect(await generation()).toBe(generations.at(-1));
    });

    it('takes a reference of hours at once', async () => {
      const catalogue = await make();
      const long = segmentVectors(9000, DIMENSION, 1);

      await catalogue.add('long', long);

      expect(await catalogue.stats()).toMatchObject({ segments: 9000, references: 1 });
      expect([...(await catalogue.vectorsOf('long', 8998, 9001)).segments]).toEqual([8998, 8999]);
      const hits = await catalogue.search(pick(long.vectors, 0, 4500, 8999), 1);
      expect(hits.map(([best]) => best!.segment)).toEqual([0, 4500, 8999]);
    });

    it('takes ids of any script and sign, and a very long one', async () => {
      const catalogue = await make();
      const names = [...AWKWARD_NAMES, 'long '.repeat(40).trim()];
      const vectors = unitVectors(names.length, DIMENSION, 5);
      for (const [row, id] of names.entries()) {
        await catalogue.add(id, { segments: Uint32Array.of(row), vectors: pick(vectors, row) });
      }

      const hits = await catalogue.search(vectors, 1);

      expect(hits.map(([best]) => best!.referenceId)).toEqual(names);
      expect(await catalogue.remove(names[0]!)).toBe(1);
      expect(await catalogue.stats()).toMatchObject({ references: names.length - 1 });
    });

    it('takes several references and questions at the same time', async () => {
      const catalogue = await make();
      const songs = Array.from({ length: 8 }, (_, i) => segmentVectors(40, DIMENSION, i + 1));

      await Promise.all(
        songs.flatMap((song, i) => [
          catalogue.add(`song-${i}`, song),
          catalogue.search(pick(song.vectors, 0), 5),
        ]),
      );

      const hits = await Promise.all(songs.map((song) => catalogue.search(pick(song.vectors, 39), 1)));
      expect(hits.map(([row]) => row![0]!.referenceId)).toEqual(songs.map((_, i) => `song-${i}`));
    });

    it('refuses queries of another dimension', async () => {
      const catalogue = await make();
      await catalogue.add('song', segmentVectors(3, DIMENSION, 1));

      await expect(catalogue.search(new Float32Array(DIMENSION + 1).fill(0.1), 5)).rejects.toThrow();
    });
  });
}

function dot(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, value, i) => sum + value * b[i]!, 0);
}

const restored = ({ vectors }: QuantisedVectors): Float32Array =>
  Float32Array.from(vectors, (value) => value / QUANTISED_ONE);

function expectNear(actual: Float32Array, expected: Float32Array): void {
  expect(actual).toHaveLength(expected.length);
  const worst = actual.reduce((most, value, i) => Math.max(most, Math.abs(value - expected[i]!)), 0);
  expect(worst).toBeLessThan(QUANTISATION);
}
