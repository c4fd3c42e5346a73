import { type Command, Option } from 'commander';
import type { Deployment } from '../../../../functions/adapters/aws/deployment.ts';
import { renderTable } from '../../render/table.ts';
import { action } from '../../session.ts';
import { withDeployment } from '../../side.ts';

const QUEUES = [
  'scanRequests',
  'scanBackfill',
  'registerRequests',
  'review',
] as const satisfies readonly (keyof Deployment['queues'])[];

export function addRedrive(group: Command): void {
  group
    .command('redrive')
    .summary('give dead letters another try')
    .description(
      'Moves dead letters back to the queue that they came from, where they are tried as if they were new: scans go on ' +
        'from the window where they stopped. See to the cause first: what fails again comes back.',
    )
    .addOption(new Option('--queue <name>', 'only those of this queue (default: of all)').choices(QUEUES))
    .action(
      action<[{ queue?: (typeof QUEUES)[number] }]>(async (session, { queue }) => {
        const moved = await withDeployment(session, async ({ queues }) => {
          const names = queue ? [queue] : QUEUES;
          return Promise.all(
            names.map(async (name) => ({ queue: name, moved: await queues[name].redrive() })),
          );
        });
        session.terminal.list(moved, (all, screen) =>
          renderTable(
            [{ title: 'queue' }, { title: 'went back', align: 'right' }],
            all.map((one) => [one.queue, String(one.moved)]),
            screen,
          ),
        );
        return undefined;
      }),
    );
}
