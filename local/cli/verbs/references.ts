import type { Command } from 'commander';
import type { Reference } from '../../../functions/core/reference.ts';
import { systemClock } from '../../../functions/ports/clock.ts';
import {
  type DeletionReceipt,
  deleteReference,
  excludeSpan,
  getReference,
  setEnabled,
} from '../../../functions/register/manage.ts';
import { nameOf } from '../render/scan.ts';
import { paint, type Screen, type Style } from '../render/screen.ts';
import { renderTable } from '../render/table.ts';
import { clock, clockSpan, count, safe } from '../render/text.ts';
import { action, type Session } from '../session.ts';
import { withRecords } from '../side.ts';
import { parseTimeSpan } from '../time.ts';
import { addGroup, firstOf, limitOption } from './listing.ts';
import { policyWords } from './policy.ts';

const STATES: Record<Reference['state'], Style> = {
  active: 'green',
  registering: 'yellow',
  disabled: 'dim',
  refused: 'magenta',
};

export function addReferences(program: Command): void {
  const group = addGroup<{ limit?: number }>(
    program,
    {
      name: 'references',
      summary: 'what is in the catalogue: list, show, disable, enable, exclude, delete',
      description: 'Lists the recordings of the catalogue, newest first; or looks after one of them.',
      options: [limitOption()],
      help: `
Examples:
  $ refrain references
  $ refrain references show catalogue-0042
  $ refrain references disable catalogue-0042            its matches are dropped from now on
  $ refrain references exclude catalogue-0042 1:05-1:30  this part of it is not searched for
  $ refrain references delete catalogue-0042             erases it, and prints a receipt`,
    },
    async (session, options) => {
      await withRecords(session, 'read', async ({ references }) => {
        const found = await firstOf((page) => references.list(page), options, session);
        session.terminal.list(found, drawList);
      });
      return undefined;
    },
  );

  group
    .command('show')
    .description('everything that is known of one recording')
    .argument('<id>')
    .action(
      action<[string]>(async (session, id) => {
        show(session, await withRecords(session, 'read', ({ references }) => getReference(id, references)));
        return undefined;
      }),
    );

  for (const [verb, enabled, words] of [
    ['disable', false, 'keep a recording, but drop its matches from the next scan on'],
    ['enable', true, 'let a disabled recording match again'],
  ] as const) {
    group
      .command(verb)
      .description(words)
      .argument('<id>')
      .action(
        action<[string]>(async (session, id) => {
          const set = () =>
            withRecords(session, 'write', ({ references }) => setEnabled(id, enabled, references));
          show(session, await set());
          return undefined;
        }),
      );
  }

  group
    .command('exclude')
    .description('take a part of a recording out of the search: a sample, or what is in the public domain')
    .argument('<id>')
    .argument('<from-to>', 'such as 1:05-1:30, or in seconds 65-90')
    .action(
      action<[string, string]>(async (session, id, fromTo) => {
        const span = parseTimeSpan(fromTo);
        show(
          session,
          await withRecords(session, 'write', ({ references }) => excludeSpan(id, span, references)),
        );
        return undefined;
      }),
    );

  group
    .command('delete')
    .description('erase a recording from the catalogue and print a receipt')
    .argument('<id>')
    .action(
      action<[string]>(async (session, id) => {
        const receipt = await withRecords(session, 'write', ({ references, events, catalogues }) =>
          deleteReference(id, { references, events, catalogues: catalogues(), clock: systemClock }),
        );
        session.terminal.result(receipt, () => drawReceipt(receipt));
        return undefined;
      }),
    );
}

const show = ({ terminal }: Session, reference: Reference): void =>
  terminal.result(reference, (screen) => drawReference(reference, screen));

function drawList(references: readonly Reference[], screen: Screen): string[] {
  if (references.length === 0) return ['The catalogue is empty; "refrain register" fills it.'];
  const rows = references.map((reference) => [
    safe(reference.referenceId),
    nameOf({ ...reference, path: reference.source.key }),
    safe(reference.owner ?? ''),
    reference.durationMs > 0 ? clock(reference.durationMs) : '',
    paint(screen, STATES[reference.state], reference.state),
  ]);
  return renderTable(
    [
      { title: 'id', shrinkTo: 28 },
      { title: 'recording', shrinkTo: 16 },
      { title: 'owner', shrinkTo: 8 },
      { title: 'length', align: 'right' },
      { title: 'state' },
    ],
    rows,
    screen,
  );
}

function drawReference(reference: Reference, screen: Screen): string[] {
  const { referenceId, state, reasons, source, model, durationMs, segments, excluded, registeredAt } =
    reference;
  const facts: [string, string | undefined][] = [
    ['id', safe(referenceId)],
    ['state', paint(screen, STATES[state], state)],
    [
      'why',
      reasons.length > 0
        ? reasons.map(({ code, message }) => `${safe(message)} (${code})`).join('; ')
        : undefined,
    ],
    ['artist', reference.artist && safe(reference.artist)],
    ['album', reference.album && safe(reference.album)],
    ['owner', reference.owner && safe(reference.owner)],
    ['ISRC', reference.isrc],
    ['length', `${clock(durationMs)} in ${count(segments, 'segment')}`],
    ['excluded', excluded.map(({ startMs, endMs }) => clockSpan(startMs, endMs)).join(', ') || undefined],
    ['policy', reference.policy && policyWords(reference.policy).join('; ')],
    ['file', safe(source.key)],
    ['model', model.id],
    ['registered', registeredAt],
  ];
  const known = facts.filter((fact): fact is [string, string] => fact[1] !== undefined);
  return [
    paint(screen, 'bold', nameOf({ ...reference, path: source.key })),
    ...known.map(([name, value]) => `  ${name.padEnd(11)}${value}`),
  ];
}

const drawReceipt = (receipt: DeletionReceipt): string[] => [
  `Deleted ${nameOf(receipt)}`,
  `  receipt    ${receipt.receiptId}`,
  `  id         ${safe(receipt.referenceId)}`,
  `  content    ${receipt.contentId}`,
  `  erased     ${count(receipt.segmentsErased, 'segment')} of model ${receipt.model.id}`,
  `  at         ${receipt.deletedAt}`,
];
