import type { Command } from 'commander';
import { RefrainError } from '../../../../functions/core/errors.ts';
import { systemClock } from '../../../../functions/ports/clock.ts';
import { replay } from '../../../../functions/steps/replay.ts';
import { safe } from '../../render/text.ts';
import { action } from '../../session.ts';
import { withDeployment } from '../../side.ts';

export function addReplay(group: Command): void {
  group
    .command('replay')
    .summary('scan an upload again')
    .description(
      'Asks for the scan of an upload again: the same version of the same object, against the catalogue and by the rules ' +
        'of today. Cases that were decided stay decided. A scan that is stuck goes on where it stopped.',
    )
    .argument('<scan>', 'id of the scan')
    .action(
      action<[string]>(async (session, id) => {
        const asked = await withDeployment(session, async ({ stack, scans, scanRequests, catalogue }) => {
          const scan = await scans.get(id);
          if (!scan) {
            throw new RefrainError(
              'SCAN_NOT_FOUND',
              `there is no scan ${safe(id)}; "refrain scans --stack ${stack}" lists them`,
            );
          }
          const { model } = await catalogue.state();
          const scanId = await replay(scan, model, { scans, scanRequests, clock: systemClock });
          return { scanId, upload: scan.upload, was: scan.verdict ?? scan.state, stack };
        });
        session.terminal.result(asked, () => [
          `The scan of ${safe(asked.upload.key)} (${asked.was}) is asked for again. Follow it with:`,
          `  refrain scans show ${asked.scanId} --stack ${asked.stack}`,
        ]);
        return undefined;
      }),
    );
}
