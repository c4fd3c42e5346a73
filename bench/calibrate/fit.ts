import type { Calibration, Term } from '../../functions/core/confidence.ts';

/** One possible match: its terms, whether it was true, and how much it counts. */
export interface Example {
  terms: Record<Term, number>;
  true: boolean;
  weight: number;
}

type Logistic = Calibration['acceptance'];

/**
 * Logistic regression by Newton's method on standardised terms, lightly regularised.
 * @param signs the terms to weigh, and the sign that a weight must have (0 if either will do): a term is dropped when the
 *   data would have it otherwise
 * @param given weights that are not fitted
 */
export function fitLogistic(
  examples: readonly Example[],
  signs: Partial<Record<Term, 1 | -1 | 0>>,
  given: Partial<Record<Term, number>> = {},
): Logistic {
  let names = Object.keys(signs) as Term[];
  for (;;) {
    const fitted = newton(examples, names, given);
    const wrong = names.filter((name) => fitted.weights[name]! * signs[name]! < 0);
    if (wrong.length === 0) return { ...fitted, weights: { ...fitted.weights, ...given } };
    const worst = wrong.reduce((a, b) =>
      Math.abs(fitted.weights[b]!) > Math.abs(fitted.weights[a]!) ? b : a,
    );
    names = names.filter((name) => name !== worst);
  }
}

const RIDGE = 1e-3;
const ITERATIONS = 40;

function newton(
  examples: readonly Example[],
  names: readonly Term[],
  given: Partial<Record<Term, number>>,
): Logistic {
  const offsets = examples.map(({ terms }) =>
    Object.entries(given).reduce((sum, [name, weight]) => sum + weight * terms[name as Term], 0),
  );
  const total = examples.reduce((sum, { weight }) => sum + weight, 0);
  const mean = names.map((name) => examples.reduce((sum, e) => sum + e.weight * e.terms[name]!, 0) / total);
  const deviation = names.map(
    (name, j) =>
      Math.sqrt(examples.reduce((sum, e) => sum + e.weight * (e.terms[name]! - mean[j]!) ** 2, 0) / total) ||
      1,
  );
  const rows = examples.map((e) => [
    1,
    ...names.map((name, j) => (e.terms[name]! - mean[j]!) / deviation[j]!),
  ]);
  const size = names.length + 1;
  let beta = new Array<number>(size).fill(0);
  for (let iteration = 0; iteration < ITERATIONS; iteration++) {
    const gradient = beta.map((b, j) => (j === 0 ? 0 : -RIDGE * b * total));
    const hessian = beta.map((_, i) =>
      beta.map((_, j) => (i === j && i > 0 ? RIDGE * total : i === j ? 1e-9 : 0)),
    );
    rows.forEach((row, n) => {
      const { weight } = examples[n]!;
      const p = 1 / (1 + Math.exp(-row.reduce((sum, x, j) => sum + x * beta[j]!, offsets[n]!)));
      const error = (examples[n]!.true ? 1 : 0) - p;
      for (let i = 0; i < size; i++) {
        gradient[i]! += weight * error * row[i]!;
        for (let j = 0; j < size; j++) hessian[i]![j]! += weight * p * (1 - p) * row[i]! * row[j]!;
      }
    });
    const step = solve(hessian, gradient);
    const length = Math.hypot(...step);
    beta = beta.map((b, j) => b + step[j]! * Math.min(1, 3 / length));
    if (length < 1e-7) break;
  }
  const weights: Logistic['weights'] = {};
  names.forEach((name, j) => {
    weights[name] = beta[j + 1]! / deviation[j]!;
  });
  const intercept = beta[0]! - names.reduce((sum, name, j) => sum + weights[name]! * mean[j]!, 0);
  return { intercept, weights };
}

/** Gaussian elimination with pivoting. */
function solve(matrix: number[][], right: number[]): number[] {
  const rows = matrix.map((row, i) => [...row, right[i]!]);
  const n = right.length;
  for (let i = 0; i < n; i++) {
    let pivot = i;
    for (let k = i + 1; k < n; k++) if (Math.abs(rows[k]![i]!) > Math.abs(rows[pivot]![i]!)) pivot = k;
    [rows[i], rows[pivot]] = [rows[pivot]!, rows[i]!];
    for (let k = i + 1; k < n; k++) {
      const factor = rows[k]![i]! / rows[i]![i]!;
      for (let j = i; j <= n; j++) rows[k]![j]! -= factor * rows[i]![j]!;
    }
  }
  const x = new Array<number>(n).fill(0);
  for (let i = n - 1; i >= 0; i--) {
    let sum = rows[i]![n]!;
    for (let j = i + 1; j < n; j++) sum -= rows[i]![j]! * x[j]!;
    x[i] = sum / rows[i]![i]!;
  }
  return x;
}

/** Where the evidence curve has its points, deviations above chance. */
const POINTS = [-1, 0, 1, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6, 7];
const LEAST_NATS = -0.4;
const MOST_NATS = 3.5;
/** Taken off every ratio: neighbouring segments share most of their audio, so none of them is news by itself. */
const OVERLAP_NATS = 1.2;

/**
 * The evidence curve: log of how much likelier each similarity is along true lines than along lines that nothing speaks for.
 * It must not fall (isotonic), and is held within bounds: a segment under speech should cost little, and no single
 * segment should decide.
 */
export function fitEvidence(match: readonly number[], chance: readonly number[]): Calibration['evidence'] {
  const density = (values: readonly number[], x: number, width: number) =>
    (values.filter((v) => Math.abs(v - x) < width).length + 2) / (values.length + 4 * POINTS.length);
  const ratios = POINTS.map((x) => Math.log(density(match, x, 0.4) / density(chance, x, 0.4)));
  const weights = POINTS.map((x) => match.concat(chance).filter((v) => Math.abs(v - x) < 0.4).length + 1);
  const rising = isotonic(ratios, weights);
  return {
    at: POINTS,
    nats: rising.map((nats) => round(Math.min(MOST_NATS, Math.max(LEAST_NATS, nats - OVERLAP_NATS)))),
  };
}

/** Pool adjacent violators. */
function isotonic(values: readonly number[], weights: readonly number[]): number[] {
  const pools: { sum: number; weight: number; count: number }[] = [];
  values.forEach((value, i) => {
    pools.push({ sum: value * weights[i]!, weight: weights[i]!, count: 1 });
    while (pools.length > 1) {
      const [a, b] = [pools.at(-2)!, pools.at(-1)!];
      if (a.sum / a.weight <= b.sum / b.weight) break;
      pools.splice(-2, 2, { sum: a.sum + b.sum, weight: a.weight + b.weight, count: a.count + b.count });
    }
  });
  return pools.flatMap(({ sum, weight, count }) => new Array<number>(count).fill(sum / weight));
}

export const round = (x: number): number => Number(x.toPrecision(4));
