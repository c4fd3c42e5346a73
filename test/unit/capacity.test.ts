import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { Assumptions, type CatalogueOption, planCapacity } from '../../functions/core/capacity.ts';

const usual = Assumptions.parse({});
const load = { catalogueHours: 10_000, uploadsPerDay: 10_000, minutesEach: 5 };
const GIB = 1024 ** 3;

/** What the chosen nodes hold: 8 GiB for each processor, half of it heap, up to 32 GiB. */
function capacityOf({ nodes, nodeType }: CatalogueOption) {
  const size = nodeType.split('.')[1]!;
  const gib = { large: 16, xlarge: 32, '2xlarge': 64, '4xlarge': 128, '8xlarge': 256, '16xlarge': 512 }[
    size
  ]!;
  return { cacheGiB: nodes * (gib - Math.min(gib / 2, 32)), processors: nodes * (gib / 8) };
}

describe('a capacity plan', () => {
  it('counts two vectors for each second of reference', () => {
    expect(planCapacity(load, usual).vectors).toBe(72_000_000);
  });

  it('keeps every copy of vectors and graphs in memory', () => {
    const { options } = planCapacity(load, usual);

    for (const option of options) {
      const { memoryBytes } = usual.encodings[option.encoding];
      expect(option.memoryGiB).toBeCloseTo((memoryBytes * 72_000_000 * option.copies) / GIB);
      expect(option.copies).toBeGreaterThanOrEqual(2);
      expect(capacityOf(option).cacheGiB * usual.memoryForVectors).toBeGreaterThanOrEqual(option.memoryGiB);
    }
  });

  it('has the processors for the busiest hour', () => {
    const { options, queriesPerSecond } = planCapacity({ ...load, uploadsPerDay: 2_000_000 }, usual);

    for (const option of options) {
      const busy = (queriesPerSecond.peak * option.queryMs) / 1000;
      expect(capacityOf(option).processors * usual.processorsForSearch).toBeGreaterThanOrEqual(busy);
      expect(option.limit).toBe('queries');
    }
  });

  it('gives every node something to do: more copies rather than more shards', () => {
    const { options } = planCapacity({ ...load, uploadsPerDay: 2_000_000 }, usual);

    for (const { nodes, shards, copies } of options) expect(nodes).toBe(shards * copies);
  });

  it('takes nodes that a whole shard fits into', () => {
    const { chosen } = planCapacity({ ...load, catalogueHours: 100_000, uploadsPerDay: 1 }, usual);

    const one = capacityOf({ ...chosen, nodes: 1 }).cacheGiB * usual.memoryForVectors;
    expect(chosen.memoryGiB / chosen.copies / chosen.shards).toBeLessThanOrEqual(one);
  });

  it('searches every graph for each query, so that its work grows with the catalogue as soon as one is full', () => {
    const merged = Assumptions.parse({ freshGraphs: 0 });
    const [small] = planCapacity({ ...load, catalogueHours: 1_000 }, merged).options;
    const [large] = planCapacity({ ...load, catalogueHours: 100_000 }, merged).options;

    expect(small!.graphs).toBe(1);
    expect(large!.graphs).toBeGreaterThan(20);
    expect(large!.queryMs).toBeGreaterThan(20 * small!.queryMs);
    expect(large!.shards).toBeGreaterThan(small!.shards);
  });

  it('counts what is not merged yet as graphs of every shard', () => {
    const merged = planCapacity(load, Assumptions.parse({ freshGraphs: 0 })).chosen;
    const fresh = planCapacity(load, Assumptions.parse({ freshGraphs: 5 })).chosen;

    expect(fresh.graphs).toBe(merged.graphs + 5 * fresh.shards);
    expect(fresh.queryMs).toBeGreaterThan(merged.queryMs);
  });

  it('takes the measured time for a graph of the measured size', () => {
    const oneGraph = Assumptions.parse({ freshGraphs: 0 });

    const { options } = planCapacity({ ...load, catalogueHours: 1e6 / 7200 }, oneGraph);

    for (const { encoding, queryMs } of options) {
      expect(queryMs).toBeCloseTo(oneGraph.encodings[encoding].searchMs, 3);
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

  it('takes the smaller of two that cost the same', () => {
    const { options, chosen } = planCapacity({ ...load, catalogueHours: 10 }, usual);

    expect(new Set(options.map(({ usdPerMonth }) => usdPerMonth)).size).toBe(1);
    expect(chosen.encoding).toBe('byte');
    expect(chosen).toMatchObject({ nodes: 1 + usual.replicas, limit: 'copies' });
  });

  it('asks for fewer nodes when fewer segments of an upload are asked for', () => {
    const busy = { ...load, uploadsPerDay: 2_000_000 };

    const all = planCapacity(busy, Assumptions.parse({ queriesPerSegment: 1 })).chosen;
    const few = planCapacity(busy, usual).chosen;

    expect(few.usdPerMonth).toBeLessThan(all.usdPerMonth / 2);
  });

  it('takes other prices and figures, and keeps the rest', () => {
    const free = Assumptions.parse({
      prices: { lambdaGbSecond: 0, lambdaRequest: 0 },
      encodings: { byte: { searchMs: 5 } },
    });

    expect(planCapacity(load, free).lambda.usdPerMonth).toBe(0);
    expect(free.encodings.byte).toEqual({ ...usual.encodings.byte, searchMs: 5 });
  });
});

describe('docs/SCALE.md', () => {
  const page = readFileSync(new URL('../../docs/SCALE.md', import.meta.url), 'utf8');
  const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
  const three = new Intl.NumberFormat('en', { maximumSignificantDigits: 3 });

  it.each([
    ['10⁶', 1e6, 10_000],
    ['10⁶', 1e6, 100_000],
    ['10⁸', 1e8, 10_000],
    ['10⁸', 1e8, 100_000],
    ['10⁹', 1e9, 10_000],
    ['10⁹', 1e9, 100_000],
  ])('quotes the plan for %s segments (%d) and %d uploads a day', (name, segments, uploadsPerDay) => {
    const plan = planCapacity({ catalogueHours: segments / 7200, uploadsPerDay, minutesEach: 3 }, usual);
    const { encoding, memoryGiB, shards, copies, graphs, queryMs, nodes, nodeType, limit } = plan.chosen;

    const row = [
      name,
      whole.format(uploadsPerDay),
      encoding,
      `${three.format(memoryGiB)} GiB`,
      `${shards} x ${copies}`,
      `${graphs}`,
      `${three.format(queryMs)} ms`,
      `${nodes} x ${nodeType.replace('.search', '')}`,
      limit,
      `${whole.format(plan.usdPerMonth)} USD`,
      `${three.format(plan.usdPerThousandScannedHours)} USD`,
    ].join(' | ');
    expect(page).toContain(`| ${row} |`);
  });
});
