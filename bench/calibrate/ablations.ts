import type { Step } from '../../functions/core/alignment/index.ts';
import { type Calibration, confidenceOf } from '../../functions/core/confidence.ts';
import { CONDITIONS } from '../accuracy/conditions.ts';
import { LENGTHS } from '../accuracy/render.ts';
import { type Answer, best } from './evaluate.ts';

/** What is missing when a step of the matching stage is left out. */
export const STEPS: Record<Step, string> = {
  slopes: 'votes for speeds other than 1',
  sharpening: 'sharpening of lines',
  extension: 'tracing beyond the votes',
  chaining: 'chaining of pieces',
};

/** One way to match, and what it finds of what is there and of what is not. */
export interface Ablation {
  name: string;
  answers: readonly Answer[];
  /** Fitted to these answers, so that all are held to the same false alarms. */
  calibration: Calibration;
}

/** Right track and place, per cent of all cells and of the hard ones, and false alarms; one row each, as Markdown. */
export function ablationTable(ablations: readonly Ablation[]): string {
  const heads = ['', ...lengthsOf('all'), ...lengthsOf('hard'), 'false alarms', 'in whole tracks'];
  const rows = ablations.map(({ name, answers, calibration }) => {
    const queries = answers.filter(({ query }) => query.condition !== 'whole');
    const found = (hardOnly: boolean) =>
      LENGTHS.map((seconds) =>
        rightOf(
          queries.filter(
            ({ query, held }) =>
              held && query.seconds === seconds && !(hardOnly && !HARD.has(query.condition)),
          ),
          calibration,
        ),
      );
    return [
      name,
      ...found(false),
      ...found(true),
      alarmsOf(queries, calibration),
      alarmsInWholes(answers, calibration),
    ];
  });
  return aligned([heads, heads.map(() => '---'), ...rows]);
}

const HARD = new Set(CONDITIONS.filter(({ group }) => group === 'hard').map(({ id }) => id));
const lengthsOf = (cells: string) => LENGTHS.map((seconds) => `${cells}, ${seconds} s`);

function rightOf(held: readonly Answer[], calibration: Calibration): string {
  const right = held.filter((answer) => {
    const top = best(answer, calibration);
    return top && top.confidence >= calibration.threshold && top.judgement === 'right';
  });
  return held.length === 0 ? '-' : ((100 * right.length) / held.length).toFixed(1);
}

function alarmsOf(queries: readonly Answer[], calibration: Calibration): string {
  const negatives = queries.filter(({ held }) => !held);
  const alarms = negatives.filter(
    (answer) => (best(answer, calibration)?.confidence ?? 0) >= calibration.threshold,
  );
  return `${alarms.length} of ${negatives.length}`;
}

function alarmsInWholes(answers: readonly Answer[], calibration: Calibration): string {
  const wholes = answers.filter(({ query }) => query.condition === 'whole');
  const hours = wholes.reduce((sum, { query }) => sum + query.seconds / 3600, 0);
  const alarms = wholes.flatMap(({ found }) =>
    found.filter(
      ({ span, judgement }) =>
        judgement === 'wrong' && confidenceOf(span.features, calibration) >= calibration.threshold,
    ),
  );
  return `${alarms.length} in ${hours.toFixed(1)} h`;
}

function aligned(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows
    .map(
      (row) => `| ${row.map((cell, i) => cell.padEnd(widths[i]!, cell === '---' ? '-' : ' ')).join(' | ')} |`,
    )
    .join('\n');
}
