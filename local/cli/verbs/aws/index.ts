import type { Command } from 'commander';
import { addCost } from './cost.ts';
import { addMerge } from './merge.ts';
import { addRedrive } from './redrive.ts';
import { addReindex } from './reindex.ts';
import { addReplay } from './replay.ts';
import { addStatus } from './status.ts';

export function addAws(program: Command): void {
  const group = program
    .command('aws')
    .summary('look after a deployment in AWS: status, redrive, replay, reindex, merge, cost')
    .description(
      'Looks after a deployment in AWS, which --stack names. Region and credentials are found as by every tool that ' +
        'uses the AWS SDK: profile, single sign-on, environment variables.',
    )
    .addHelpText(
      'after',
      `
Most other verbs work on a deployment, too: refrain scan upload.mp3 --stack refrain-prod

Examples:
  $ refrain aws status --stack refrain-prod
  $ refrain aws redrive --stack refrain-prod --queue scanRequests
  $ refrain aws replay scan_0a1b2c3d4e5f6a7b8c9d0e1f --stack refrain-prod`,
    );
  for (const add of [addStatus, addRedrive, addReplay, addReindex, addMerge, addCost]) add(group);
}
