import type { Command } from 'commander';
import type { Deployment } from '../../../../functions/adapters/aws/deployment.ts';
import { QUEUES } from '../../../../functions/constants.ts';
import type { CatalogueState, IndexState } from '../../../../functions/core/catalogue-state.ts';
import { sentenceOf } from '../../errors.ts';
import { paint, type Screen } from '../../render/screen.ts';
import { renderTable } from '../../render/table.ts';
import { clock, count, safe } from '../../render/text.ts';
import { action } from '../../session.ts';
import { withDeployment } from '../../side.ts';

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;
/** CloudWatch has the figures of queues some minutes late. */
const RECENT_MS = 15 * MINUTE_MS;
/** By then, every delivery of its message has had its time. */
const STUCK_MS = QUEUES.scanRequests.visibilitySeconds * 1000;
const SCANS_TOLD = 10;
const SCANS_READ = 1000;

export function addStatus(group: Command): void {
  group
    .command('status')
    .summary('queues, functions, catalogue, unfinished scans')
    .description(
      'Shows on one screen how a deployment is: what waits and for how long, dead letters, failures of the functions, ' +
        'the catalogue and its index, and scans that are going on or stuck.',
    )
    .action(
      action(async (session) => {
        const status = await withDeployment(session, statusOf);
        session.terminal.result(status, (screen) => draw(status, screen));
        return undefined;
      }),
    );
}

type Status = Awaited<ReturnType<typeof statusOf>>;

async function statusOf(deployment: Deployment) {
  const now = new Date();
  const [queues, functions, catalogue, scans] = await Promise.all([
    queuesOf(deployment, now),
    functionsOf(deployment, now),
    catalogueOf(deployment),
    unfinishedOf(deployment, now),
  ]);
  return { stack: deployment.stack, region: deployment.region, queues, functions, catalogue, scans };
}

async function queuesOf({ queues, measure }: Deployment, now: Date) {
  const all = Object.entries(queues);
  const ages = await measure(
    all.map(([, { name }]) => ({
      namespace: 'AWS/SQS',
      metric: 'ApproximateAgeOfOldestMessage',
      dimensions: { QueueName: name },
      statistic: 'Maximum',
    })),
    { since: new Date(now.getTime() - RECENT_MS), until: now, periodSeconds: 60 },
  );
  return Promise.all(
    all.map(async ([name, queue], i) => {
      const counts = await queue.counts();
      // The age is some minutes old, and nothing is the oldest in an empty queue.
      const isEmpty = counts.waiting + counts.inWork + counts.delayed === 0;
      return { queue: name, ...counts, oldestSeconds: isEmpty ? null : (ages[i] ?? null) };
    }),
  );
}

const COUNTED = ['Invocations', 'Errors', 'Throttles'] as const;

async function functionsOf({ functions, measure }: Deployment, now: Date) {
  const all = Object.entries(functions);
  const figures = await measure(
    all.flatMap(([, FunctionName]) =>
      COUNTED.map((metric) => ({
        namespace: 'AWS/Lambda',
        metric,
        dimensions: { FunctionName },
        statistic: 'Sum' as const,
      })),
    ),
    { since: new Date(now.getTime() - DAY_MS), until: now, periodSeconds: 3600 },
  );
  return all.map(([name], i) => {
    const [runs = null, errors = null, throttles = null] = figures.slice(i * COUNTED.length);
    return { function: name, runs, errors, throttles };
  });
}

/** The one part that has to be asked of a function, which may itself be what is broken. */
async function catalogueOf({ catalogue }: Deployment): Promise<CatalogueState | { unknown: string }> {
  return catalogue.state().catch((error) => ({ unknown: sentenceOf(error) }));
}

async function unfinishedOf({ scans }: Deployment, now: Date) {
  const { items, next } = await scans.listUnfinished({ limit: SCANS_READ });
  const unfinished = items.map(({ scanId, startedAt, upload }) => ({
    scanId,
    key: upload.key,
    startedAt,
    stuck: now.getTime() - Date.parse(startedAt) > STUCK_MS,
  }));
  return {
    unfinished: unfinished.length,
    andMore: next !== undefined,
    scans: unfinished.toReversed().slice(0, SCANS_TOLD),
  };
}

function draw(status: Status, screen: Screen): string[] {
  return [
    paint(screen, 'bold', `${safe(status.stack)} in ${status.region}`),
    '',
    ...drawQueues(status.queues, screen),
    '',
    ...drawFunctions(status.functions, screen),
    '',
    ...drawCatalogue(status.catalogue, screen),
    '',
    ...drawScans(status.scans, screen),
  ];
}

const UNKNOWN = '–';

const drawQueues = (queues: Status['queues'], screen: Screen): string[] =>
  renderTable(
    [
      { title: 'queue' },
      { title: 'waiting', align: 'right' },
      { title: 'in work', align: 'right' },
      { title: 'delayed', align: 'right' },
      { title: 'oldest', align: 'right' },
      { title: 'dead', align: 'right' },
    ],
    queues.map(({ queue, waiting, inWork, delayed, oldestSeconds, dead }) => [
      queue,
      ...[waiting, inWork, delayed].map(String),
      oldestSeconds === null ? UNKNOWN : clock(oldestSeconds * 1000),
      paint(screen, dead > 0 ? 'red' : 'reset', String(dead)),
    ]),
    screen,
  );

const drawFunctions = (functions: Status['functions'], screen: Screen): string[] =>
  renderTable(
    [
      { title: 'function' },
      { title: 'runs in 24 h', align: 'right' },
      { title: 'failed', align: 'right' },
      { title: 'throttled', align: 'right' },
    ],
    functions.map(({ function: name, runs, errors, throttles }) => [
      name,
      ...[runs, errors, throttles].map((figure) => (figure === null ? UNKNOWN : String(figure))),
    ]),
    screen,
  );

function drawCatalogue(catalogue: Status['catalogue'], screen: Screen): string[] {
  if ('unknown' in catalogue)
    return [`catalogue  ${paint(screen, 'red', 'not known:')} ${catalogue.unknown}`];
  const { alias, model, live, next } = catalogue;
  return [
    live
      ? `catalogue  ${indexWords(live)}, found as ${alias}`
      : `catalogue  ${paint(screen, 'yellow', `no index is behind ${alias}`)}; it is made with the first registration`,
    ...(next ? [`           ${indexWords(next)}, being built to replace it`] : []),
    `model      ${model.id} (${model.sha256.slice(0, 12)})`,
  ];
}

const indexWords = ({ index, references, segments, bytes, graphs, merging }: IndexState): string =>
  `${count(references, 'reference')}, ${count(segments, 'segment')}` +
  `${bytes === undefined ? '' : `, ${(bytes / 1e6).toFixed(1)} MB`} in ${index}` +
  `${graphs === undefined ? '' : `, ${count(graphs, 'graph')}`}${merging ? ' (being merged)' : ''}`;

function drawScans({ unfinished, andMore, scans }: Status['scans'], screen: Screen): string[] {
  if (unfinished === 0) return ['scans      none is unfinished'];
  const stuck = scans.filter((scan) => scan.stuck).length;
  const words = stuck > 0 ? `, ${paint(screen, 'red', `${stuck} of these long since`)}:` : ', the oldest:';
  return [
    `scans      ${andMore ? 'more than ' : ''}${unfinished} unfinished${words}`,
    ...renderTable(
      [
        { title: '' },
        { title: 'id' },
        { title: 'since (UTC)' },
        { title: 'file', shrinkTo: 14, cut: 'middle' },
      ],
      scans.map((scan) => [
        scan.stuck ? '!' : ' ',
        scan.scanId,
        scan.startedAt.slice(0, 16).replace('T', ' '),
        safe(scan.key),
      ]),
      screen,
    ).map((line) => `  ${line}`),
  ];
}
