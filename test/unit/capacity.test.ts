import { describe, expect, it } from 'vitest';
import { Assumptions, planCapacity } from '../../functions/core/capacity.ts';

const usual = Assumptions.parse({});
const load = { catalogueHours: 10_000, uploadsPerDay: 10_000, minutesEach: 5 };

describe('a capacity plan', () => {
  it('counts two vectors for each second of reference', () => {
    expect(planCapacity(load, usual).vectors).toBe(72_000_000);
  });

  it('needs the memory that OpenSearch states for HNSW', () => {
    const { options } = planCapacity(load, usual);
    const float = options.find(({ encoding }) => encoding === 'float32')!;
    // 1.1 * (4 * 128 + 8 * 16) bytes * 72 million * 2 copies
    expect(float.memoryGiB).toBeCloseTo(94.4, 0);
    for (const { nodes, nodeType, memoryGiB } of options) {
      const gib = { large: 16, xlarge: 32, '2xlarge': 64, '4xlarge': 128 }[nodeType.split('.')[1]!]!;
      expect(nodes * gib * usual.memoryForVectors).toBeGreaterThanOrEqual(memoryGiB);
    }
  });

  it('adds up', () => {
    const plan = planCapacity(load, usual);
    const parts =
      plan.chosen.usdPerMonth +
      plan.lambda.usdPerMonth +
      plan.other.reduce((sum, { usdPerMonth }) => sum + usdPerMonth, 0);
    expect(plan.usdPerMonth).toBeCloseTo(parts);
    expect(plan.usdPerThousandScannedHours).toBeCloseTo(
      (plan.usdPerMonth / ((10_000 * 30.4 * 5) / 60)) * 1000,
    );
  });

  it('grows with the queries when the catalogue is small', () => {
    const quiet = planCapacity({ ...load, catalogueHours: 10 }, usual);
    const busy = planCapacity({ ...load, catalogueHours: 10, uploadsPerDay: 2_000_000 }, usual);
    expect(quiet.chosen.nodes).toBe(1 + usual.replicas);
    expect(busy.chosen.nodes * busy.chosen.usdPerMonth).toBeGreaterThan(10 * quiet.chosen.usdPerMonth);
  });

  it('takes other prices', () => {
    const free = Assumptions.parse({ prices: { lambdaGbSecond: 0, lambdaRequest: 0 } });
    expect(planCapacity(load, free).lambda.usdPerMonth).toBe(0);
  });
});
