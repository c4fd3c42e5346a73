import { describe, expect, it } from 'vitest';
import { limited, Timeline } from '../../functions/adapters/media/timeline.ts';
import type { TimeSpan } from '../../functions/core/span.ts';

const RATE = 10; // blocks of 20 samples

function record(startSample = 0) {
  const heard: { blocks: [number, number[]][]; spans: TimeSpan[] } = { blocks: [], spans: [] };
  const timeline = new Timeline(RATE, startSample, {
    pcm: (start, pcm) => heard.blocks.push([start, [...pcm]]),
    undecodable: (span) => heard.spans.push(span),
  });
  return { timeline, heard };
}

const ones = (length: number) => new Float32Array(length).fill(1);
const samples = ({ blocks }: ReturnType<typeof record>['heard']) => blocks.flatMap(([, pcm]) => pcm);

describe('the line of time', () => {
  it('hands on blocks that follow one another, and the rest at the end', () => {
    const { timeline, heard } = record();

    timeline.write(0, ones(33));
    timeline.write(33, ones(12));
    timeline.finish();

    expect(heard.blocks.map(([start, pcm]) => [start, pcm.length])).toEqual([
      [0, 20],
      [20, 20],
      [40, 5],
    ]);
    expect(timeline.end).toBe(45);
  });

  it('fills what lies between two runs with zeros', () => {
    const { timeline, heard } = record();

    timeline.write(2, ones(3));
    timeline.write(8, ones(2));
    timeline.finish();

    expect(samples(heard)).toEqual([0, 0, 1, 1, 1, 0, 0, 0, 1, 1]);
  });

  it('drops what overlaps', () => {
    const { timeline, heard } = record();

    timeline.write(0, new Float32Array([0.1, 0.1, 0.1]).fill(0.5));
    timeline.write(1, ones(4));
    timeline.write(2, ones(1));
    timeline.finish();

    expect(samples(heard)).toEqual([0.5, 0.5, 0.5, 1, 1]);
    expect(timeline.end).toBe(5);
  });

  it('begins where it is told to, in the middle of a run or of a gap', () => {
    for (const [at, expected] of [
      [3, [1, 1, 0, 0, 1]],
      [6, [0, 1]],
    ] as const) {
      const { timeline, heard } = record(at);

      timeline.write(0, ones(5));
      timeline.write(7, ones(1));
      timeline.finish();

      expect(heard.blocks).toEqual([[at, expected]]);
    }
  });

  it('keeps the true end although nothing of it was wanted', () => {
    const { timeline, heard } = record(100);

    timeline.write(0, ones(5));
    timeline.silenceTo(50);
    timeline.finish();

    expect(heard.blocks).toEqual([]);
    expect(timeline.end).toBe(50);
  });

  it('tells of each lost stretch from the wanted start on, and sums them up', () => {
    const { timeline, heard } = record(5);

    timeline.markUndecodable(0, 3);
    timeline.markUndecodable(4, 7);
    timeline.markUndecodable(7, 9);
    timeline.markUndecodable(12, 12);
    timeline.markUndecodable(20, 21);

    expect(heard.spans).toHaveLength(3);
    expect(timeline.undecodable).toEqual([
      { startMs: 500, endMs: 900 },
      { startMs: 2000, endMs: 2100 },
    ]);
  });

  it('a file of holes does not grow the summary without end', () => {
    const { timeline } = record();

    for (let i = 0; i < 5000; i++) timeline.markUndecodable(2 * i, 2 * i + 1);

    expect(timeline.undecodable).toHaveLength(1000);
    expect(timeline.undecodable.at(-1)!.endMs).toBe(999_900);
  });
});

it.each([
  [0.25, 0.25],
  [1.5, 1],
  [-7, -1],
  [Number.NaN, 0],
  [Number.POSITIVE_INFINITY, 0],
  [Number.NEGATIVE_INFINITY, 0],
])('%d becomes %d', (sample, expected) => {
  expect(limited(sample)).toBe(expected);
});
