import { describe, expect, test } from 'vitest';
import type { MatchSpan } from '../../functions/core/detection.ts';
import { coveredMs, mergeSpans, withoutExcluded } from '../../functions/core/span.ts';

/** The upload's 100 s to 130 s are the reference's 40 s to 70 s. */
const match: MatchSpan = {
  uploadStartMs: 100_000,
  uploadEndMs: 130_000,
  referenceStartMs: 40_000,
  referenceEndMs: 70_000,
  speed: 1,
  confidence: 0.9,
};
const excluded = (...seconds: [from: number, to: number][]) =>
  seconds.map(([from, to]) => ({ startMs: from * 1000, endMs: to * 1000 }));
/** `[upload from, to, reference from, to]`, s. */
const secondsOf = (spans: readonly MatchSpan[]) =>
  spans.map((span) =>
    [span.uploadStartMs, span.uploadEndMs, span.referenceStartMs, span.referenceEndMs].map((ms) => ms / 1000),
  );

describe('what is left of a match when a part of the reference is excluded', () => {
  test.each([
    ['nothing excluded', [], [[100, 130, 40, 70]]],
    [
      'excluded elsewhere',
      [
        [0, 40],
        [70, 90],
      ],
      [[100, 130, 40, 70]],
    ],
    ['the beginning', [[30, 50]], [[110, 130, 50, 70]]],
    ['the end', [[65, 80]], [[100, 125, 40, 65]]],
    [
      'the middle',
      [[50, 55]],
      [
        [100, 110, 40, 50],
        [115, 130, 55, 70],
      ],
    ],
    ['all of it', [[40, 70]], []],
    ['more than all of it', [[0, 100]], []],
    [
      'all of it, in two overlapping parts',
      [
        [55, 90],
        [30, 60],
      ],
      [],
    ],
    [
      'several parts, in any order',
      [
        [60, 62],
        [45, 50],
      ],
      [
        [100, 105, 40, 45],
        [110, 120, 50, 60],
        [122, 130, 62, 70],
      ],
    ],
    ['all but a second', [[41, 80]], []],
    ['all but two seconds', [[42, 80]], [[100, 102, 40, 42]]],
  ] as [string, [number, number][], number[][]][])('%s', (_, stretches, left) => {
    expect(secondsOf(withoutExcluded(match, excluded(...stretches)))).toEqual(left);
  });

  test('is cut on both clocks: in a faster upload the same music takes less time', () => {
    const fast = { ...match, speed: 1.25, referenceEndMs: 77_500 };

    const left = withoutExcluded(fast, excluded([50, 60]));

    expect(secondsOf(left)).toEqual([
      [100, 108, 40, 50],
      [116, 130, 60, 77.5],
    ]);
    expect(left).toMatchObject([{ speed: 1.25, confidence: 0.9 }, { speed: 1.25 }]);
  });

  test('never reaches beyond the match, where its speed is not exactly that of its ends', () => {
    const drifting = { ...match, speed: 0.97 };

    const [left, ...more] = withoutExcluded(drifting, excluded([69.9, 90]));

    expect(more).toEqual([]);
    expect(left).toMatchObject({ uploadStartMs: 100_000, uploadEndMs: 130_000, referenceEndMs: 69_900 });
  });

  test('stays in whole milliseconds', () => {
    const odd = { ...match, speed: 1.0371 };

    for (const span of withoutExcluded(odd, [{ startMs: 50_000.4, endMs: 55_000.7 }])) {
      for (const ms of [span.uploadStartMs, span.uploadEndMs, span.referenceStartMs, span.referenceEndMs]) {
        expect(Number.isInteger(ms)).toBe(true);
      }
    }
  });

  test('a match that is short by itself stays as it is', () => {
    const short = { ...match, uploadEndMs: 101_000, referenceEndMs: 41_000 };

    expect(withoutExcluded(short, excluded([60, 70]))).toEqual([short]);
  });
});

test('overlaps count once, and neighbours within the gap become one', () => {
  const spans = excluded([10, 20], [0, 5], [15, 30]);

  expect(mergeSpans(spans)).toEqual(excluded([0, 5], [10, 30]));
  expect(mergeSpans(spans, 5000)).toEqual(excluded([0, 30]));
  expect(coveredMs(spans)).toBe(25_000);
});
