import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command, CommanderError, Option } from 'commander';
import { sentenceOf } from './errors.ts';
import { EXIT } from './exit.ts';
import { safe } from './render/text.ts';
import { addAws } from './verbs/aws/index.ts';
import { addCases, addDecide } from './verbs/cases.ts';
import { addPlan } from './verbs/plan.ts';
import { addPolicy } from './verbs/policy.ts';
import { addQueue } from './verbs/queue.ts';
import { addReferences } from './verbs/references.ts';
import { addRegister } from './verbs/register.ts';
import { addScan } from './verbs/scan.ts';
import { addScans } from './verbs/scans.ts';
import { addWatch } from './verbs/watch.ts';

/** Runs the command line and resolves to its exit code. Never throws. */
export async function main(args: readonly string[]): Promise<number> {
  endWithSupervisor();
  endQuietlyWhenNobodyReads();
  process.exitCode = EXIT.ok;
  try {
    await createProgram().parseAsync(args, { from: 'user' });
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    process.stderr.write(`refrain: ${sentenceOf(error)}\n`);
    return EXIT.error;
  }
  return Number(process.exitCode);
}

function createProgram(): Command {
  const program = new Command('refrain')
    .description('Finds copied music in audio and video files, against a catalogue of your own.')
    .version(versionOfPackage())
    .addOption(
      new Option('--store <dir>', 'folder of the catalogue and of all records')
        .env('REFRAIN_STORE')
        .default('.refrain'),
    )
    .addOption(
      new Option('--stack <name>', 'a deployment in AWS instead of the store, such as refrain-prod').env(
        'REFRAIN_STACK',
      ),
    )
    .option('--region <name>', 'its region (default: as the AWS SDK finds it)')
    .option('--profile <name>', 'its credentials, from the AWS configuration files (default: likewise)')
    .option('--jsonl', 'for machines: a JSON line per result on stdout, words only on stderr')
    .configureHelp({ showGlobalOptions: true })
    .showHelpAfterError('See "refrain --help" for what there is.')
    .configureOutput({
      // What the caller typed comes back in these messages.
      outputError: (text, write) => write(`${text.trimEnd().split('\n').map(safe).join('\n')}\n`),
    })
    .exitOverride()
    .addHelpText(
      'after',
      `
Examples:
  $ refrain register ~/Music/label          put recordings into the catalogue
  $ refrain scan upload.mp4                 say where they occur in an upload
  $ refrain watch uploads/                  scan what lands in a folder
  $ refrain cases                           what moderators should look at
  $ refrain cases --stack refrain-prod      the same of a deployment in AWS

"refrain VERB --help" says more. Exit code: 0 clear, 3 flagged, 1 error, 2 wrong usage.`,
    );
  for (const add of [
    addRegister,
    addScan,
    addWatch,
    addReferences,
    addScans,
    addCases,
    addDecide,
    addPolicy,
    addQueue,
    addPlan,
    addAws,
  ]) {
    add(program);
  }
  return program;
}

function versionOfPackage(): string {
  const file = join(import.meta.dirname, '../../package.json');
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}

/** Where bin.js runs in an older Node, this process ends with that one, however it ended. */
function endWithSupervisor(): void {
  if (!process.env.REFRAIN_SUPERVISED || !process.channel) return;
  process.on('disconnect', () => process.exit(EXIT.error));
  process.channel.unref();
}

/** `refrain scans | head`: a reader that had enough is no error. */
function endQuietlyWhenNobodyReads(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(EXIT.ok);
    throw error;
  });
}
