import type { UploadSegments } from '../../functions/core/alignment/index.ts';
import {
  type AlignOptions,
  align,
  type MatchedSpan,
  promising,
  propose,
} from '../../functions/core/alignment/index.ts';
import { Similarity, StoredReference } from '../../functions/core/alignment/similarity.ts';
import { type Calibration, confidenceOf, logOddsOf, termsOf } from '../../functions/core/confidence.ts';
import { QUANTISED_ONE } from '../../functions/core/segments.ts';
import type { Case, Collected } from './collect.ts';
import { type Example, fitEvidence, fitLogistic, round } from './fit.ts';
import { type Judgement, judge } from './judge.ts';

/** One query asked of one catalogue, and everything that could be a match, strongest first. */
export interface Answer {
  query: Case;
  /** Whether the catalogue held the track. */
  held: boolean;
  upload: UploadSegments;
  found: { span: MatchedSpan; judgement: Judgement }[];
}

/** Possible matches per query that are looked at. */
const KEPT = 5;

export function answer(
  { cases, stored, grid }: Collected,
  calibration: Calibration,
  options?: AlignOptions,
): Answer[] {
  return cases.flatMap((query) =>
    (['positive', 'negative'] as const).flatMap((side): Answer[] => {
      const upload = query[side];
      if (!upload) return [];
      const proposals = propose(upload, grid, options);
      const ids = promising(proposals, upload, grid);
      const vectors = new Map(ids.map((id) => [id, stored.get(id)!]));
      const spans = align(upload, proposals, vectors, grid, calibration, { ...options, least: 0 });
      const kept = query.condition === 'whole' ? 50 : KEPT;
      const found = spans
        .sort((a, b) => b.features.score - a.features.score)
        .slice(0, kept)
        .map((span) => ({ span, judgement: judge(span, query, stored, grid.hopMs / 1000) }));
      return [{ query, held: side === 'positive', upload, found }];
    }),
  );
}

/** Mean and deviation of the cosine of segments that have nothing to do with each other. */
export function chanceOf({ cases, stored }: Collected): NonNullable<Calibration['chance']> {
  const references = [...stored.values()].filter(({ segments }) => segments.length > 0);
  let [n, sum, squares, turn] = [0, 0, 0, 0];
  for (const { negative, track } of cases) {
    if (!negative || !track) continue;
    const dimension = negative.vectors.length / negative.segments.length;
    for (let row = 0; row < negative.segments.length; row += 3) {
      turn += 97;
      const reference = references[turn % references.length]!;
      if (reference === stored.get(track)) continue;
      const other = (turn * 31) % reference.segments.length;
      let cosine = 0;
      for (let d = 0; d < dimension; d++) {
        cosine += negative.vectors[row * dimension + d]! * reference.vectors[other * dimension + d]!;
      }
      cosine /= QUANTISED_ONE ** 2;
      n++;
      sum += cosine;
      squares += cosine * cosine;
    }
  }
  const mean = sum / n;
  return { mean: round(mean), deviation: round(Math.sqrt(squares / n - mean * mean)) };
}

/** References per negative query whose segments stand for chance: proposed ones, which are in a similar style. */
const LOOKALIKES = 3;

/**
 * The evidence curve, from the similarities along true lines and along arbitrary lines through the references that
 * were proposed wrongly. (Taking the best wrong lines instead would count their luck twice: once in the curve, and
 * once in the logistic, which sees them as examples.)
 */
export function evidenceOf(
  { cases, stored, grid }: Collected,
  calibration: Calibration,
): Calibration['evidence'] {
  const match: number[] = [];
  const chance: number[] = [];
  const hop = grid.hopMs / 1000;
  const half = grid.segmentMs / 2000;
  for (const { condition, positive, negative, track, pieces } of cases) {
    if (condition === 'whole') continue;
    for (const upload of [positive, negative]) {
      if (!upload || upload.segments.length === 0) continue;
      const ids = promising(propose(upload, grid), upload, grid);
      if (upload === positive && !ids.includes(track!)) ids.push(track!);
      const references = new Map(ids.map((id) => [id, new StoredReference(id, stored.get(id)!)]));
      const similarity = new Similarity(upload, [...references.values()], calibration);
      const compare = (id: string, row: number, segment: number, into: number[]) => {
        const cosine = similarity.cosine(row, references.get(id)!, Math.round(segment));
        if (!Number.isNaN(cosine)) into.push(similarity.deviations(row, cosine));
      };
      upload.segments.forEach((segment, row) => {
        if (upload === negative) {
          for (const id of ids.slice(0, LOOKALIKES)) {
            compare(id, row, (37 + segment) % references.get(id)!.length, chance);
          }
          return;
        }
        const centre = segment * hop + half;
        const piece = pieces.find(({ start, end }) => centre >= start && centre < end);
        if (!piece) return;
        compare(track!, row, (piece.reference + piece.speed * (centre - piece.start) - half) / hop, match);
      });
    }
  }
  return fitEvidence(match, chance);
}

/** Which way each term of the logistic must point; how much evidence there is says little beside the lead. */
const SIGNS = {
  logScore: 0,
  logField: -1,
  prominence: 1,
  cosine: 1,
  lead: 1,
  logAhead: 1,
  speedChange: -1,
  logLinks: -1,
} as const;
/** The examples are excerpts by themselves, so a fit would lean on it; uploads have excerpts among other things. */
const GIVEN = { explained: 4 } as const;

/** Examples count less the further they lie from the threshold: by a factor of e at so many nats. */
const FOCUS = 3;
const FOCUS_ROUNDS = 4;

/**
 * The logistic. What is decided is decided near the threshold, and most examples lie far from it on either side, where a
 * straight line need not fit: so it is fitted again with weight on those that lie near.
 */
export function acceptanceOf(
  answers: readonly Answer[],
  calibration: Calibration,
  alarms: AlarmLimits,
): Calibration['acceptance'] {
  const examples = answers.flatMap(({ found }): Example[] =>
    // The pieces of one match share their features: one example.
    [...new Map(found.map(({ span, judgement }) => [span.features, judgement]))]
      .filter(([, judgement]) => judgement === 'right' || judgement === 'wrong')
      .map(([features, judgement]) => ({
        terms: termsOf(features),
        true: judgement === 'right',
        weight: 1,
      })),
  );
  let acceptance = fitLogistic(examples, SIGNS, GIVEN);
  for (let round = 0; round < FOCUS_ROUNDS; round++) {
    const fitted = { ...calibration, acceptance };
    const threshold = logitOf(thresholdOf(answers, fitted, alarms));
    const weights = examples.map(({ terms }) =>
      Math.exp(-(((logOddsOf(terms, acceptance) - threshold) / FOCUS) ** 2)),
    );
    const mean = weights.reduce((sum, weight) => sum + weight, 0) / weights.length;
    acceptance = fitLogistic(
      examples.map((example, i) => ({ ...example, weight: weights[i]! / mean })),
      SIGNS,
      GIVEN,
    );
  }
  const { intercept, weights } = acceptance;
  return {
    intercept: round(intercept),
    weights: Object.fromEntries(Object.entries(weights).map(([name, weight]) => [name, round(weight)])),
  };
}

const logitOf = (confidence: number): number => Math.log(confidence / (1 - confidence));

/** The most confident possible match of an answer. */
export function best(
  answer: Answer,
  calibration: Calibration,
): { confidence: number; judgement: Judgement } | undefined {
  let top: { confidence: number; judgement: Judgement } | undefined;
  for (const { span, judgement } of answer.found) {
    if (judgement === 'version') continue;
    const confidence = confidenceOf(span.features, calibration);
    if (!top || confidence > top.confidence) top = { confidence, judgement };
  }
  return top;
}

/** False alarms that are accepted, per query of what is not in the catalogue and per hour of it. */
export interface AlarmLimits {
  perQuery: number;
  perHour: number;
}

/** Where the waveforms agree, two tracks share a sample: that is no chance, and no threshold is there to keep it out. */
const isNotProved = ({ span }: Answer['found'][number]): boolean => span.features.coherence === undefined;

/** Alarms whose tail is extrapolated: enough to tell its slope, few enough to be the tail. */
const TAIL = 20;

/**
 * The lowest threshold with at most so many false alarms per negative query and per hour of other music. The hours
 * at hand are too few to count rare alarms, so their rate follows from the tail: above some level, log-odds of chance
 * exceed it exponentially (peaks over threshold).
 */
export function thresholdOf(
  answers: readonly Answer[],
  calibration: Calibration,
  { perQuery, perHour }: AlarmLimits,
): number {
  const descending = (a: number, b: number) => b - a;
  const queries = answers.filter(({ held, query }) => !held && query.condition !== 'whole');
  const tops = queries
    .map((query) => best({ ...query, found: query.found.filter(isNotProved) }, calibration)?.confidence ?? 0)
    .sort(descending);

  const whole = answers.filter(({ query }) => query.condition === 'whole');
  const hours = whole.reduce((sum, { query }) => sum + query.seconds / 3600, 0);
  const alarms = whole
    .flatMap(({ found }) => [
      ...new Set(
        found
          .filter((found) => found.judgement === 'wrong' && isNotProved(found))
          .map(({ span }) => confidenceOf(span.features, calibration)),
      ),
    ])
    .map(logitOf)
    .sort(descending);
  const level = alarms[TAIL]!;
  const excess = alarms.slice(0, TAIL).reduce((sum, logit) => sum + logit - level, 0) / TAIL;
  const logit = level + excess * Math.log(TAIL / hours / perHour);

  const least = Math.max(tops[Math.round(queries.length * perQuery)] ?? 0, 1 / (1 + Math.exp(-logit)));
  return round(Math.min(0.99, Math.max(0.5, least + 0.002)));
}

/** Prints what the calibration does, cell by cell. */
export function report(
  answers: readonly Answer[],
  calibration: Calibration,
  print: (line: string) => void,
): void {
  const { threshold } = calibration;
  const lengths = [5, 10, 30];
  const tops = answers.map((answer) => ({ ...answer, top: best(answer, calibration) }));
  const percent = (count: number, of: number) =>
    (of === 0 ? '-' : ((100 * count) / of).toFixed(1)).padStart(6);

  print(`threshold ${threshold}; right track and place / wrong track, % (best guess in brackets)`);
  const conditions = [...new Set(answers.map(({ query }) => query.condition))];
  const all = { right: [0, 0, 0], wrong: [0, 0, 0], guess: [0, 0, 0], of: [0, 0, 0] };
  for (const condition of conditions) {
    const cells = lengths.map((seconds, i) => {
      const held = tops.filter(
        ({ query, held }) => held && query.condition === condition && query.seconds === seconds,
      );
      const said = held.filter(({ top }) => top && top.confidence >= threshold);
      const right = said.filter(({ top }) => top!.judgement === 'right').length;
      const wrong = said.filter(({ top }) => top!.judgement === 'wrong').length;
      const guess = held.filter(({ top }) => top?.judgement === 'right').length;
      all.right[i]! += right;
      all.wrong[i]! += wrong;
      all.guess[i]! += guess;
      all.of[i]! += held.length;
      return held.length === 0
        ? ''
        : `${percent(right, held.length)}/${percent(wrong, held.length)} (${percent(guess, held.length)})`;
    });
    if (cells.some(Boolean)) print(`${condition.padEnd(16)} ${cells.join('   ')}`);
  }
  print(
    `${'all'.padEnd(16)} ${lengths.map((_, i) => `${percent(all.right[i]!, all.of[i]!)}/${percent(all.wrong[i]!, all.of[i]!)} (${percent(all.guess[i]!, all.of[i]!)})`).join('   ')}`,
  );

  const negatives = tops.filter(({ held, query }) => !held && query.condition !== 'whole');
  for (const seconds of lengths) {
    const of = negatives.filter(({ query }) => query.seconds === seconds);
    const alarms = of.filter(({ top }) => top && top.confidence >= threshold);
    print(
      `negative ${seconds} s queries: ${alarms.length} false alarms of ${of.length}: ${alarms
        .map(({ query }) => query.id)
        .slice(0, 8)
        .join(' ')}`,
    );
  }
  const whole = tops.filter(({ query }) => query.condition === 'whole');
  const hours = whole.reduce((sum, { query }) => sum + query.seconds / 3600, 0);
  const alarms = whole.flatMap(({ found }) =>
    found.filter(
      ({ span, judgement }) => judgement === 'wrong' && confidenceOf(span.features, calibration) >= threshold,
    ),
  );
  print(`${alarms.length} false alarms in ${hours.toFixed(1)} h of other music`);

  for (const [what, ofMatches] of [
    ['the same recordings, least', true],
    ['other ones, most', false],
  ] as const) {
    const coherences = answers
      .flatMap(({ found }) => found)
      .filter(({ judgement }) => (judgement === 'wrong') !== ofMatches && judgement !== 'version')
      .flatMap(({ span }) => span.features.coherence ?? [])
      .sort((a, b) => (ofMatches ? a - b : b - a));
    const few = coherences.slice(0, 8).map((x) => x.toFixed(1));
    print(`coherence of waveforms, ${what} (${coherences.length} above chance): ${few.join(' ')}`);
  }

  print('reliability: confidence, how many, how many of them right');
  const edges = [0, 0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98, 0.999, 1.001];
  for (let i = 1; i < edges.length; i++) {
    const inside = answers.flatMap(({ found, query }) =>
      query.condition === 'whole'
        ? []
        : found.filter(({ span, judgement }) => {
            const confidence = confidenceOf(span.features, calibration);
            return (
              (judgement === 'right' || judgement === 'wrong') &&
              confidence >= edges[i - 1]! &&
              confidence < edges[i]!
            );
          }),
    );
    const right = inside.filter(({ judgement }) => judgement === 'right').length;
    print(
      `  ${edges[i - 1]!.toFixed(3)}-${Math.min(1, edges[i]!).toFixed(3)} ${String(inside.length).padStart(7)} ${percent(right, inside.length)} %`,
    );
  }
}
