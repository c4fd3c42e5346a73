import { userInfo } from 'node:os';
import { Argument, type Command, Option } from 'commander';
import { Case, DecisionKind } from '../../../functions/core/case.ts';
import { RefrainError } from '../../../functions/core/errors.ts';
import type { Reference } from '../../../functions/core/reference.ts';
import { systemClock } from '../../../functions/ports/clock.ts';
import { decide } from '../../../functions/review/decide.ts';
import { UsageError } from '../errors.ts';
import { ACTION_STYLES, detectionLines, nameOf } from '../render/scan.ts';
import { paint, type Screen, type Style } from '../render/screen.ts';
import { renderTable } from '../render/table.ts';
import { clockSpan, percent, safe } from '../render/text.ts';
import { namedDetection } from '../report.ts';
import { action, type Session } from '../session.ts';
import { withRecords } from '../side.ts';
import { addGroup, firstOf, limitOption } from './listing.ts';

const STATES: Record<Case['state'], Style> = { open: 'yellow', escalated: 'red', closed: 'dim' };

interface ListOptions {
  limit?: number;
  state?: Case['state'];
}

export function addCases(program: Command): void {
  const group = addGroup<ListOptions>(
    program,
    {
      name: 'cases',
      summary: 'what moderators decide on: list, show',
      description:
        'Lists the cases of the review, most urgent first; or shows one. A case is one recording found in one upload.',
      options: [
        new Option('--state <state>', 'only those in this state').choices(Case.shape.state.options),
        limitOption(),
      ],
      help: `
Examples:
  $ refrain cases --state open
  $ refrain cases show case_0a1b2c3d4e5f6a7b8c9d0e1f
  $ refrain decide case_0a1b2c3d4e5f6a7b8c9d0e1f confirm --reason "same master"`,
    },
    async (session, { state, limit }) => {
      await withRecords(session, 'read', async ({ cases, references }) => {
        const found = await firstOf(
          (page) => cases.list({ ...page, ...(state && { state }) }),
          { ...(limit !== undefined && { limit }) },
          session,
        );
        const named = await references.getMany(found.map(({ detection }) => detection.referenceId));
        session.terminal.list(found, (items, screen) => drawList(items, named, screen));
      });
      return undefined;
    },
  );

  group
    .command('show')
    .description('one case: what was found where, why a person should look, and what was decided')
    .argument('<id>')
    .action(
      action<[string]>(async (session, id) => {
        await withRecords(session, 'read', async ({ cases, references, scans }) => {
          const item = await cases.get(id);
          if (!item)
            throw new RefrainError(
              'CASE_NOT_FOUND',
              `there is no case ${safe(id)}; "refrain cases" lists them`,
            );
          const named = await references.getMany([item.detection.referenceId]);
          const scan = await scans.get(item.scanId);
          session.terminal.result(item, (screen) => drawCase(item, named, scan?.durationMs ?? 0, screen));
        });
        return undefined;
      }),
    );
}

interface DecideOptions {
  reason: string;
  by?: string;
}

export function addDecide(program: Command): void {
  program
    .command('decide')
    .summary('decide a case')
    .description(
      'Writes a decision into a case: confirm and reject close it, escalate hands it up, skip leaves it for the next ' +
        'moderator. What was decided before stays in its history.',
    )
    .argument('<case>', 'id of the case')
    .addArgument(new Argument('<decision>', 'what it is').choices(DecisionKind.options))
    .requiredOption('--reason <text>', 'why; for the record, and for whoever asks later')
    .option('--by <name>', 'who decides (default: your user name)')
    .addHelpText(
      'after',
      `
Examples:
  $ refrain decide case_0a1b2c3d4e5f6a7b8c9d0e1f confirm --reason "same master, whole chorus"
  $ refrain decide case_0a1b2c3d4e5f6a7b8c9d0e1f reject --reason "licensed" --by ada`,
    )
    .action(action(decideOne));
}

async function decideOne(
  session: Session,
  caseId: string,
  decision: DecisionKind,
  { reason, by = userName() }: DecideOptions,
): Promise<undefined> {
  if (reason.trim() === '') throw new UsageError('--reason must say something');
  if (by.trim() === '') throw new UsageError('--by must name somebody');
  const decided = await withRecords(session, 'write', ({ cases, events }) =>
    decide(caseId, { decision, reason, by }, { cases, events, clock: systemClock }),
  );
  session.terminal.result(decided, (screen) => [
    `${paint(screen, 'green', '✔')} ${decided.caseId} is ${paint(screen, STATES[decided.state], decided.state)}`,
  ]);
  return undefined;
}

function userName(): string {
  try {
    return userInfo().username;
  } catch {
    throw new UsageError('your user name is not known here; say who decides with --by NAME');
  }
}

function drawList(cases: readonly Case[], named: ReadonlyMap<string, Reference>, screen: Screen): string[] {
  if (cases.length === 0) return ['There is no such case.'];
  const rows = cases.map(({ caseId, state, priority, upload, detection }) => [
    caseId,
    String(priority),
    paint(screen, STATES[state], state),
    paint(screen, ACTION_STYLES[detection.action], detection.action),
    percent(detection.confidence),
    nameOf(namedDetection(detection, named)),
    safe(upload.key),
  ]);
  return renderTable(
    [
      { title: 'case', shrinkTo: 29 },
      { title: 'priority', align: 'right' },
      { title: 'state' },
      { title: 'asked' },
      { title: 'sure', align: 'right' },
      { title: 'found', shrinkTo: 8 },
      { title: 'in', shrinkTo: 8, cut: 'middle' },
    ],
    rows,
    screen,
  );
}

function drawCase(
  item: Case,
  named: ReadonlyMap<string, Reference>,
  uploadMs: number,
  screen: Screen,
): string[] {
  const { caseId, state, upload, detection, reasons, priority, openedAt, decisions } = item;
  const lastEnd = Math.max(...detection.spans.map(({ uploadEndMs }) => uploadEndMs));
  const excluded = named.get(detection.referenceId)?.excluded ?? [];
  return [
    `${paint(screen, STATES[state], state)}  ${paint(screen, 'bold', caseId)}  priority ${priority}, since ${openedAt}`,
    `  upload    ${safe(upload.key)}`,
    `  found     ${nameOf(namedDetection(detection, named))} (${safe(detection.referenceId)})`,
    `  covers    ${percent(detection.coverage.upload)} of the upload, ${percent(detection.coverage.reference)} of the recording`,
    `  look      ${reasons.join(', ')}`,
    ...(excluded.length > 0
      ? [`  excluded  ${excluded.map(({ startMs, endMs }) => clockSpan(startMs, endMs)).join(', ')}`]
      : []),
    '',
    ...detectionLines([namedDetection(detection, named)], [], uploadMs || lastEnd, screen),
    ...(decisions.length > 0 ? [''] : []),
    ...decisions.map(({ at, by, decision, reason }) => `  ${at}  ${safe(by)}: ${decision}, ${safe(reason)}`),
  ];
}
