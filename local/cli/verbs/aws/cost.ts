import { type Command, InvalidArgumentError } from 'commander';
import type { Deployment } from '../../../../functions/adapters/aws/deployment.ts';
import { METRICS } from '../../../../functions/constants.ts';
import { type Cost, costOf, type Usage } from '../../../../functions/core/cost.ts';
import { paint, type Screen } from '../../render/screen.ts';
import { renderTable } from '../../render/table.ts';
import { safe } from '../../render/text.ts';
import { action } from '../../session.ts';
import { withDeployment } from '../../side.ts';
import { readAssumptions } from '../plan.ts';

const DAY_MS = 86_400_000;

export function addCost(group: Command): void {
  group
    .command('cost')
    .summary('what the deployment costs')
    .description(
      'Says what the deployment costs a month, if it goes on as in the last days: by what CloudWatch measured; by the ' +
        'records of scans and the prices of "refrain plan", where it measured nothing.',
    )
    .option('--days <n>', 'how many days to look back', wholeDays, 7)
    .option('--assume <file>', 'JSON with other prices than the built-in ones, as for "refrain plan"')
    .action(
      action<[{ days: number; assume?: string }]>(async (session, { days, assume }) => {
        const assumptions = await readAssumptions(assume);
        const { stack, used, known } = await withDeployment(session, async (deployment) => ({
          stack: deployment.stack,
          ...(await usageOf(deployment, days)),
        }));
        const cost = costOf(used, assumptions);
        session.terminal.result({ stack, known, usage: used, ...cost }, (screen) =>
          draw(stack, known, used, cost, screen),
        );
        return undefined;
      }),
    );
}

/** Where the hours of audio come from. */
type Known = 'metrics' | 'records';

async function usageOf(deployment: Deployment, days: number): Promise<{ used: Usage; known: Known }> {
  const { outputs } = deployment;
  const until = new Date();
  const time = { since: new Date(until.getTime() - days * DAY_MS), until };
  const [measured, lambda] = await Promise.all([scansMeasured(deployment, time), lambdaOf(deployment, time)]);
  const { catalogueDataNodeType: nodeType, catalogueDataNodes: nodes = 0 } = outputs;
  const used: Usage = {
    days,
    ...(measured ?? (await scansOnRecord(deployment, time))),
    ...(lambda && { lambda }),
    ...(nodeType && {
      catalogue: {
        nodeType,
        nodes,
        masters: outputs.catalogueDedicatedMasters ?? 0,
        volumeGiB: outputs.catalogueVolumeGiB ?? 0,
      },
    }),
  };
  return { used, known: measured ? 'metrics' : 'records' };
}

type Time = { since: Date; until: Date };
type Scanned = Pick<Usage, 'uploads' | 'searchedHours'>;

async function scansMeasured({ stack, measure }: Deployment, time: Time): Promise<Scanned | undefined> {
  const { searchedMs, ...verdicts } = METRICS.names;
  const [ms, ...counts] = await measure(
    [searchedMs, ...Object.values(verdicts)].map((metric) => ({
      namespace: METRICS.namespace,
      metric,
      dimensions: { service: stack },
      statistic: 'Sum' as const,
    })),
    { ...time, periodSeconds: 3600 },
  );
  if (ms === undefined) return undefined;
  return { searchedHours: ms / 3_600_000, uploads: counts.reduce<number>((sum, n) => sum + (n ?? 0), 0) };
}

async function scansOnRecord({ scans }: Deployment, { since }: Time): Promise<Scanned> {
  const scanned: Scanned = { uploads: 0, searchedHours: 0 };
  for (let after: string | undefined; ; ) {
    const { items, next } = await scans.list({ limit: 1000, ...(after !== undefined && { after }) });
    for (const { startedAt, searchedMs = 0 } of items) {
      // Newest first.
      if (Date.parse(startedAt) < since.getTime()) return scanned;
      scanned.uploads++;
      scanned.searchedHours += searchedMs / 3_600_000;
    }
    after = next;
    if (after === undefined) return scanned;
  }
}

async function lambdaOf(
  { functions, measure, memoryMbOf }: Deployment,
  time: Time,
): Promise<Usage['lambda']> {
  const names = Object.values(functions);
  const figures = await measure(
    names.flatMap((FunctionName) =>
      ['Duration', 'Invocations'].map((metric) => ({
        namespace: 'AWS/Lambda',
        metric,
        dimensions: { FunctionName },
        statistic: 'Sum' as const,
      })),
    ),
    { ...time, periodSeconds: 3600 },
  );
  if (figures.every((figure) => figure === undefined)) return undefined;
  const used = { gigabyteSeconds: 0, runs: 0 };
  for (const [i, name] of names.entries()) {
    const [ms = 0, runs = 0] = figures.slice(2 * i);
    used.gigabyteSeconds += (ms / 1000) * ((await memoryMbOf(name)) / 1024);
    used.runs += runs;
  }
  return used;
}

const fine = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });
const cents = new Intl.NumberFormat('en', { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const usd = (value: number | null): string => (value === null ? 'no price' : `${cents.format(value)} USD`);

function draw(stack: string, known: Known, used: Usage, cost: Cost, screen: Screen): string[] {
  const { days, uploads, searchedHours } = used;
  const { usdPerThousandScannedHours: perThousand } = cost;
  const source =
    known === 'metrics' ? 'as CloudWatch measured' : 'by the records of scans; CloudWatch has no figures';
  return [
    paint(screen, 'bold', `${safe(stack)}: ${usd(cost.usdPerMonth)} a month`),
    `${fine.format(uploads)} uploads with ${fine.format(searchedHours)} hours in the last ${days} days (${source})`,
    '',
    ...renderTable(
      [{ title: 'what' }, { title: 'known' }, { title: 'a month', align: 'right' }],
      cost.lines.map(({ what, basis, usdPerMonth }) => [what, basis, usd(usdPerMonth)]),
      screen,
    ),
    '',
    ...(perThousand === null ? [] : [`1,000 scanned hours cost ${usd(perThousand)}.`]),
    paint(
      screen,
      'dim',
      'List prices of us-east-1 (--assume replaces them); without logs, keys, stored objects and traffic.',
    ),
  ];
}

function wholeDays(text: string): number {
  const days = Number(text);
  if (Number.isInteger(days) && days >= 1 && days <= 90) return days;
  throw new InvalidArgumentError('It must be a whole number of days, 1 to 90.');
}
