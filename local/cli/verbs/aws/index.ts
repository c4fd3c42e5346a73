import type { Command } from 'commander';
import { addStatus } from './status.ts';

export function addAws(program: Command): void {
  const group = program
    .command('aws')
    .summary('look after a deployment in AWS: status')
    .description(
      'Looks after a deployment in AWS, which --stack names. Region and credentials are found as by every tool that ' +
        'uses the AWS SDK: profile, single sign-on, environment variables.',
    )
    .addHelpText(
      'after',
      `
Most other verbs work on a deployment, too: refrain scan upload.mp3 --stack refrain-prod

Examples:
  $ refrain aws status --stack refrain-prod`,
    );
  for (const add of [addStatus]) add(group);
}
