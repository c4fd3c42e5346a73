import { readFile } from 'node:fs/promises';
import { type Command, InvalidArgumentError } from 'commander';
import { z } from 'zod';
import { Assumptions, type Load, type Plan, planCapacity } from '../../../functions/core/capacity.ts';
import { sentenceOf, UsageError } from '../errors.ts';
import { paint, type Screen } from '../render/screen.ts';
import { renderTable } from '../render/table.ts';
import { action } from '../session.ts';

interface PlanOptions extends Load {
  assume?: string;
}

export function addPlan(program: Command): void {
  program
    .command('plan')
    .summary('what a load needs on AWS, and what it costs')
    .description(
      'Plans the catalogue and the functions on AWS for a load: vectors, memory, nodes, Lambda seconds, cost.',
    )
    .requiredOption('--catalogue-hours <n>', 'hours of recordings to search in', amount)
    .requiredOption('--uploads-per-day <n>', 'files to scan in a day', amount)
    .requiredOption('--minutes-each <n>', 'how long they are on average', amount)
    .option('--assume <file>', 'JSON with other prices, speeds or settings than the built-in ones')
    .addHelpText(
      'after',
      `
Prices are on-demand list prices of us-east-1; speeds and sizes are those that "npm run bench:speed" and
"npm run bench:catalogue" print. Both are printed with the plan, and can be replaced:

  {"replicas": 2, "prices": {"nodeHour": {"r7g.xlarge.search": 0.25}}}

Examples:
  $ refrain plan --catalogue-hours 100000 --uploads-per-day 50000 --minutes-each 3`,
    )
    .action(
      action<[PlanOptions]>(async ({ terminal }, options) => {
        const assumptions = await readAssumptions(options.assume);
        const plan = planCapacity(options, assumptions);
        const load = loadOf(options);
        terminal.result({ load, assumptions, ...plan }, (screen) => draw(load, plan, assumptions, screen));
        return undefined;
      }),
    );
}

const loadOf = ({ catalogueHours, uploadsPerDay, minutesEach }: Load): Load => ({
  catalogueHours,
  uploadsPerDay,
  minutesEach,
});

function amount(text: string): number {
  const value = Number(text);
  if (!Number.isFinite(value) || value < 0) throw new InvalidArgumentError('a number from 0 on is needed.');
  return value;
}

/** @throws UsageError */
export async function readAssumptions(file: string | undefined): Promise<Assumptions> {
  if (file === undefined) return Assumptions.parse({});
  let json: unknown;
  try {
    json = JSON.parse(await readFile(file, 'utf8'));
  } catch (cause) {
    throw new UsageError(`${file}: ${cause instanceof SyntaxError ? 'it is not JSON' : sentenceOf(cause)}`, {
      cause,
    });
  }
  const assumptions = Assumptions.safeParse(json);
  if (!assumptions.success) throw new UsageError(`${file}: ${z.prettifyError(assumptions.error)}`);
  return assumptions.data;
}

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const fine = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });

function draw(load: Load, plan: Plan, assumptions: Assumptions, screen: Screen): string[] {
  const { queriesPerSecond, options, chosen, lambda, other } = plan;
  const heading = (text: string) => paint(screen, 'bold', text);
  const usd = (value: number) => `${whole.format(value)} USD`;
  const columns = [
    { title: 'encoding' },
    { title: 'memory', align: 'right' as const },
    { title: 'shards', align: 'right' as const },
    { title: 'a query', align: 'right' as const },
    { title: 'nodes' },
    { title: 'a month', align: 'right' as const },
    { title: '' },
  ];
  const nodes = options.map((option) => [
    option.encoding,
    `${fine.format(option.memoryGiB)} GiB`,
    whole.format(option.shards),
    `${fine.format(option.queryMs)} ms`,
    `${option.nodes} x ${option.nodeType}`,
    usd(option.usdPerMonth),
    option === chosen ? 'chosen' : '',
  ]);
  const bill = [
    ['catalogue nodes', usd(chosen.usdPerMonth)],
    [
      `Lambda: ${whole.format(lambda.scanSeconds)} s of scan, ${whole.format(lambda.embedSeconds)} s of embed`,
      usd(lambda.usdPerMonth),
    ],
    ...other.map(({ what, usdPerMonth }) => [what, usd(usdPerMonth)]),
    ['all of it', usd(plan.usdPerMonth)],
  ];
  return [
    heading(
      `${whole.format(load.catalogueHours)} hours of recordings, ${whole.format(load.uploadsPerDay)} uploads a day of ` +
        `${fine.format(load.minutesEach)} minutes`,
    ),
    `${whole.format(plan.vectors)} vectors; ${fine.format(queriesPerSecond.average)} queries a second on average, ` +
      `${fine.format(queriesPerSecond.peak)} in the busiest hour`,
    '',
    ...renderTable(columns, nodes, screen),
    '',
    ...renderTable([{ title: 'what' }, { title: 'a month', align: 'right' }], bill, screen),
    '',
    `1,000 scanned hours cost ${fine.format(plan.usdPerThousandScannedHours)} USD. Largest lever: ${plan.largestLever}.`,
    '',
    paint(
      screen,
      'dim',
      `Assumed: ${assumptions.replicas} replica, a scan at ${assumptions.scanSpeed} times and embedding at ` +
        `${assumptions.embedSpeed} times real time per core,`,
    ),
    paint(
      screen,
      'dim',
      `a query takes ${assumptions.encodings[chosen.encoding].searchMs} ms of a processor in a graph of a million segments, ` +
        'list prices of us-east-1 (--assume replaces any of it).',
    ),
  ];
}
