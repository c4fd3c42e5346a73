import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import type { ReindexProgress } from '../../../../functions/core/catalogue-state.ts';
import { EXIT } from '../../exit.ts';
import { count, safe } from '../../render/text.ts';
import { action, type Session } from '../../session.ts';
import { withDeployment } from '../../side.ts';
import { waitOption } from '../work.ts';

const PAUSE_MS = { first: 1000, longest: 15_000 };

export function addReindex(group: Command): void {
  group
    .command('reindex')
    .summary('make the index of the catalogue anew')
    .description(
      'Makes a new index for the deployed model: after a change of engine, encoder or shards, after a new version of the ' +
        'model, or where the index is lost. What the live index has is copied; what is missing in it is heard again, by ' +
        'the queue of registrations. Scans go on meanwhile. When every reference is complete and its graphs are merged, the ' +
        'new index takes over in one step, and the old one is deleted. Broken off, the same command goes on.',
    )
    .addOption(waitOption())
    .addHelpText('after', '\nExit code: 0 the new index has taken over, 1 not yet, or it failed.')
    .action(action(reindex));
}

async function reindex(session: Session, { wait }: { wait: number }): Promise<number> {
  const { terminal, signal } = session;
  return withDeployment(session, async ({ stack, catalogue }) => {
    const end = Date.now() + wait * 60_000;
    let asked = false;
    let said = '';
    for (let pauseMs = PAUSE_MS.first; ; pauseMs = Math.min(PAUSE_MS.longest, pauseMs * 1.3)) {
      signal.throwIfAborted();
      const step = await catalogue.reindex(!asked);
      if (step.phase === 'done') {
        const { index, references, segments } = step.live;
        terminal.result(step, () => [
          `${index} has taken over, with ${count(references, 'reference')} and ${count(segments, 'segment')}.`,
        ]);
        return EXIT.ok;
      }
      asked ||= step.phase === 'filling' && step.asked > 0;
      const words = wordsOf(step);
      if (words !== said) terminal.say(words);
      said = words;
      if (Date.now() + pauseMs > end) {
        terminal.result(step, () => []);
        terminal.note(
          `not finished; the same command goes on. What holds it up: refrain aws status --stack ${stack}`,
        );
        return EXIT.error;
      }
      await sleep(pauseMs, undefined, { signal });
    }
  });
}

function wordsOf(step: Exclude<ReindexProgress, { phase: 'done' }>): string {
  if (step.phase === 'copying') return `copied ${step.copied} of ${count(step.of, 'segment')}`;
  if (step.phase === 'merging') return `merging ${count(step.graphs, 'graph')}, before it is searched`;
  const some = step.examples.map(safe).join(', ') + (step.missing > step.examples.length ? ', …' : '');
  return `${count(step.missing, 'reference')} to be heard again: ${some}`;
}
