import { type Command, Option } from 'commander';
import { RefrainError } from '../../../functions/core/errors.ts';
import { type ScanRecord, Verdict } from '../../../functions/core/scan.ts';
import { paintVerdict, renderScan } from '../render/scan.ts';
import { paint, type Screen } from '../render/screen.ts';
import { renderTable } from '../render/table.ts';
import { clock, count, safe } from '../render/text.ts';
import { reportOf } from '../report.ts';
import { action } from '../session.ts';
import { withRecords } from '../side.ts';
import { addGroup, firstOf, limitOption } from './listing.ts';
import { referencesOf } from './scan.ts';

interface ListOptions {
  limit?: number;
  verdict?: Verdict;
}

export function addScans(program: Command): void {
  const group = addGroup<ListOptions>(
    program,
    {
      name: 'scans',
      summary: 'what was scanned: list, show',
      description: 'Lists what was scanned, newest first; or shows one scan.',
      options: [
        new Option('--verdict <verdict>', 'only those with this verdict').choices(Verdict.options),
        limitOption(),
      ],
      help: `
Examples:
  $ refrain scans --verdict flagged
  $ refrain scans show scan_0a1b2c3d4e5f6a7b8c9d0e1f`,
    },
    async (session, { verdict, limit }) => {
      await withRecords(session, 'read', async ({ scans }) => {
        const found = await firstOf(
          (page) => scans.list({ ...page, ...(verdict && { verdict }) }),
          { ...(limit !== undefined && { limit }) },
          session,
        );
        session.terminal.list(found, drawList);
      });
      return undefined;
    },
  );

  group
    .command('show')
    .description('one scan, as "refrain scan" printed it')
    .argument('<id>')
    .action(
      action<[string]>(async (session, id) => {
        await withRecords(session, 'read', async (store) => {
          const scan = await store.scans.get(id);
          if (!scan)
            throw new RefrainError(
              'SCAN_NOT_FOUND',
              `there is no scan ${safe(id)}; "refrain scans" lists them`,
            );
          const references = await referencesOf(scan, store);
          session.terminal.result(scan, (screen) =>
            renderScan(reportOf(scan.upload.key, scan, references), screen),
          );
        });
        return undefined;
      }),
    );
}

function drawList(scans: readonly ScanRecord[], screen: Screen): string[] {
  if (scans.length === 0) return ['Nothing was scanned yet; "refrain scan FILE" does it.'];
  const rows = scans.map(({ scanId, upload, state, verdict, durationMs, detections, startedAt }) => [
    scanId,
    verdict ? paintVerdict(screen, verdict) : paint(screen, 'yellow', `… ${state}`),
    detections.length > 0 ? count(detections.length, 'match', 'matches') : '',
    durationMs ? clock(durationMs) : '',
    startedAt.slice(0, 16).replace('T', ' '),
    safe(upload.key),
  ]);
  return renderTable(
    [
      { title: 'id', shrinkTo: 29 },
      { title: 'verdict' },
      { title: 'found' },
      { title: 'length', align: 'right' },
      { title: 'when (UTC)' },
      { title: 'file', shrinkTo: 14, cut: 'middle' },
    ],
    rows,
    screen,
  );
}
