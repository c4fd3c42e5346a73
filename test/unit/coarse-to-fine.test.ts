import { describe, expect, it } from 'vitest';
import { backgroundOf } from '../../functions/core/alignment/background.ts';
import { coarseToFine } from '../../functions/core/alignment/coarse-to-fine.ts';
import { align, promising, propose } from '../../functions/core/alignment/index.ts';
import { Calibration } from '../../functions/core/confidence.ts';
import {
  type Hit,
  hitColumns,
  hitRows,
  quantise,
  type SegmentVectors,
} from '../../functions/core/segments.ts';
import {
  compose,
  DIMENSION,
  ExactCatalogue,
  embed,
  excerpt,
  GRID,
  join,
  type Music,
  randomness,
  withNoise,
} from '../support/synthetic-music.ts';

const STRIDE = 5;
const random = randomness(11);
const music = Array.from({ length: 40 }, () => compose(70, random));
const catalogue = new ExactCatalogue();
music.forEach((piece, i) => {
  catalogue.add(`ref-${i}`, embed(piece));
});

/** Asks for one window; tells what was asked, call by call, as segment numbers. */
async function ask({ segments, vectors }: SegmentVectors, stride = STRIDE) {
  const calls: number[][] = [];
  const hits = await coarseToFine(segments, GRID, stride, async (rows) => {
    calls.push(rows.map((row) => segments[row]!));
    return rows.flatMap((row) =>
      catalogue.search(vectors.subarray(row * DIMENSION, (row + 1) * DIMENSION), 20),
    );
  });
  return { calls, hits, asked: calls.flat() };
}

const numbered = (music: Music, firstSegment = 0): SegmentVectors => {
  const { segments, vectors } = embed(music);
  return { segments: segments.map((segment) => segment + firstSegment), vectors };
};

function matches({ segments, vectors }: SegmentVectors, hits: Hit[][]) {
  const upload = { segments, vectors: quantise(vectors), hits: hitColumns(hits) };
  const proposals = propose(upload, GRID);
  const stored = new Map(
    promising(proposals, upload, GRID).map((id) => {
      const { segments, vectors } = catalogue.references.get(id)!;
      return [id, { segments, vectors: quantise(vectors) }];
    }),
  );
  return align(upload, proposals, stored, GRID, Calibration.parse({}));
}

describe('a window of an upload', () => {
  it('that clearly is of one recording is asked for once, every so many segments, and found as if all were asked', async () => {
    const heard = embed(excerpt(music[3]!, 8, 60));

    const { calls, hits } = await ask(heard);

    expect(calls).toEqual([[...heard.segments].filter((segment) => segment % STRIDE === 0)]);
    const [closely] = matches(heard, catalogue.search(heard.vectors, 20));
    const [span, ...others] = matches(heard, hits);
    expect(others).toEqual([]);
    expect(span!.referenceId).toBe('ref-3');
    for (const end of ['uploadStartMs', 'uploadEndMs', 'referenceStartMs', 'referenceEndMs'] as const) {
      expect(Math.abs(span![end] - closely![end])).toBeLessThan(500);
    }
  });

  it('is asked for again around hits that may be a faint match, and no segment twice', async () => {
    const faint = withNoise(excerpt(music[5]!, 20, 10), 1.2, random);
    const heard = embed(join(compose(25, random), faint, compose(25, random)));

    const { calls, asked } = await ask(heard);

    expect(calls).toHaveLength(2);
    expect(new Set(asked).size).toBe(asked.length);
    const within = (segment: number) => segment >= 52 && segment <= 64;
    expect(calls[1]!.filter(within).length).toBeGreaterThanOrEqual(8);
  });

  it('keeps the hits in the rows that they were asked for', async () => {
    const heard = embed(withNoise(excerpt(music[5]!, 5, 60), 1, random));

    const { hits, asked } = await ask(heard);

    expect(asked.length).toBeLessThan(heard.segments.length);
    const all = catalogue.search(heard.vectors, 20);
    heard.segments.forEach((segment, row) => {
      expect(hits[row]).toEqual(asked.includes(segment) ? all[row] : []);
    });
  });

  it('is asked for in full when it is short', async () => {
    const heard = embed(excerpt(music[1]!, 30, 10));

    expect((await ask(heard)).calls).toEqual([[...heard.segments]]);
  });

  it('is asked for in full with a stride of 1', async () => {
    const heard = embed(compose(60, random));

    expect((await ask(heard, 1)).calls).toEqual([[...heard.segments]]);
  });

  it('is asked for the same segments wherever it begins: they are counted from the start of the file', async () => {
    const { calls } = await ask(numbered(excerpt(music[2]!, 0, 60), 363));

    expect(calls[0]!.slice(1).every((segment) => segment % STRIDE === 0)).toBe(true);
  });

  it('leaves no sound out that stands between silences', async () => {
    const { segments, vectors } = embed(excerpt(music[4]!, 0, 60));
    const audible = [...segments].filter((segment) => segment < 31 || segment > 40 || segment === 36);
    const heard = {
      segments: Uint32Array.from(audible),
      vectors: Float32Array.from(
        audible.flatMap((s) => [...vectors.subarray(s * DIMENSION, (s + 1) * DIMENSION)]),
      ),
    };

    const { calls } = await ask(heard);

    expect(calls[0]).toEqual(expect.arrayContaining([30, 36, 41]));
  });

  it('that is silent asks for nothing', async () => {
    expect(await ask({ segments: new Uint32Array(0), vectors: new Float32Array(0) })).toMatchObject({
      calls: [],
      hits: [],
    });
  });
});

describe('the background of a row that was not asked', () => {
  const hit = (similarity: number): Hit => ({ referenceId: 'a', segment: 1, similarity });
  const backgrounds = (...rows: number[][]) =>
    [...backgroundOf(hitColumns(rows.map((row) => row.map(hit))))].map((value) => Number(value.toFixed(4)));

  it('lies between those of the rows beside it, and beyond the last one is the same', () => {
    expect(
      backgrounds([], [0.9, 0.2], [], [], [], [0.9, 0.4], [], [0.7, 0.4], [0.8, 0.4], [0.8, 0.4]),
    ).toEqual([0.19, 0.19, 0.24, 0.29, 0.34, 0.39, 0.39, 0.39, 0.39, 0.39]);
  });

  it('is nothing where nothing was asked', () => {
    expect(backgrounds([], [])).toEqual([0, 0]);
  });
});

it('hits in columns and in rows are the same', () => {
  const rows = catalogue.search(embed(excerpt(music[0]!, 0, 4)).vectors, 3);
  rows.splice(1, 0, []);

  expect(hitRows(hitColumns(rows)).map((row) => row.map(({ referenceId }) => referenceId))).toEqual(
    rows.map((row) => row.map(({ referenceId }) => referenceId)),
  );
});
