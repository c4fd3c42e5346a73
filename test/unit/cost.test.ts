import { describe, expect, test } from 'vitest';
import { Assumptions, planCapacity } from '../../functions/core/capacity.ts';
import { costOf, type Usage } from '../../functions/core/cost.ts';

const assumptions = Assumptions.parse({
  prices: {
    lambdaGbSecond: 0.00001,
    lambdaRequest: 0,
    nodeHour: { 'r7g.large.search': 0.2 },
    storageGbMonth: 0.1,
  },
});
const usage: Usage = { days: 10, uploads: 1000, searchedHours: 50 };
const catalogue = { nodeType: 'r7g.large.search', nodes: 2, masters: 0, volumeGiB: 50 };

const lineOf = (of: Usage, what: RegExp) =>
  costOf(of, assumptions).lines.find((line) => what.test(line.what));

describe('the cost of a deployment', () => {
  test('takes what was measured, for a month at that rate', () => {
    const lambda = { gigabyteSeconds: 1e6, runs: 5000 };

    expect(lineOf({ ...usage, lambda }, /Lambda/)).toEqual({
      what: 'Lambda',
      basis: 'measured',
      usdPerMonth: expect.closeTo(10 * 3.04),
    });
  });

  test('falls back on the plan for the same load', () => {
    const plan = planCapacity({ catalogueHours: 0, uploadsPerDay: 100, minutesEach: 3 }, assumptions);

    expect(lineOf(usage, /Lambda/)).toEqual({
      what: 'Lambda',
      basis: 'planned',
      usdPerMonth: expect.closeTo(plan.lambda.usdPerMonth),
    });
  });

  test('counts nodes and disks as they are deployed, and none where somebody else runs the catalogue', () => {
    expect(lineOf({ ...usage, catalogue }, /nodes/)).toMatchObject({
      usdPerMonth: expect.closeTo(2 * 0.2 * 730),
    });
    expect(lineOf({ ...usage, catalogue }, /disks/)).toMatchObject({ usdPerMonth: expect.closeTo(10) });
    expect(lineOf({ ...usage, catalogue }, /endpoints/)).toBeDefined();
    expect(lineOf(usage, /nodes|disks|endpoints|masters/)).toBeUndefined();
  });

  test('says so when a node has no price, and leaves it out of the sum', () => {
    const priced = costOf({ ...usage, catalogue }, assumptions);
    const unpriced = costOf(
      { ...usage, catalogue: { ...catalogue, nodeType: 'x9.huge.search' } },
      assumptions,
    );

    expect(unpriced.lines[0]).toMatchObject({ what: expect.stringContaining('x9.huge'), usdPerMonth: null });
    expect(unpriced.usdPerMonth).toBeCloseTo(priced.usdPerMonth - 2 * 0.2 * 730);
  });

  test('says that Serverless has no price beforehand, and no disks', () => {
    const serverless = { nodeType: 'serverless', nodes: 1, masters: 0, volumeGiB: 0 };

    expect(lineOf({ ...usage, catalogue: serverless }, /nodes/)).toMatchObject({ usdPerMonth: null });
    expect(lineOf({ ...usage, catalogue: serverless }, /disks/)).toBeUndefined();
    expect(lineOf({ ...usage, catalogue: serverless }, /endpoints/)).toBeDefined();
  });

  test('divides by the hours that were scanned, and by none when there were none', () => {
    const { usdPerMonth, usdPerThousandScannedHours } = costOf({ ...usage, catalogue }, assumptions);

    expect(usdPerThousandScannedHours).toBeCloseTo((usdPerMonth / (5 * 30.4)) * 1000);
    expect(
      costOf({ days: 10, uploads: 0, searchedHours: 0, catalogue }, assumptions).usdPerThousandScannedHours,
    ).toBeNull();
  });
});
