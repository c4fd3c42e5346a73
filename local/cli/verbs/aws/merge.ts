import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import type { IndexState } from '../../../../functions/core/catalogue-state.ts';
import { EXIT } from '../../exit.ts';
import { count } from '../../render/text.ts';
import { action, type Session } from '../../session.ts';
import { withDeployment } from '../../side.ts';
import { waitOption } from '../work.ts';

const PAUSE_MS = { first: 500, longest: 15_000 };

export function addMerge(group: Command): void {
  group
    .command('merge')
    .summary('merge the graphs of the catalogue')
    .description(
      'Merges the graphs that registrations left into few, because each query searches all of them: after many ' +
        'registrations, where that cannot wait for the night. Scans and registrations go on meanwhile.',
    )
    .addOption(waitOption())
    .addHelpText('after', '\nExit code: 0 it is merged, 1 not yet (which goes on by itself), or it failed.')
    .action(action(merge));
}

async function merge(session: Session, { wait }: { wait: number }): Promise<number> {
  const { terminal, signal } = session;
  return withDeployment(session, async ({ catalogue }) => {
    const end = Date.now() + wait * 60_000;
    const begun = await catalogue.merge();
    let said = '';
    for (let pauseMs = PAUSE_MS.first; ; pauseMs = Math.min(PAUSE_MS.longest, pauseMs * 1.3)) {
      signal.throwIfAborted();
      const { live, next } = await catalogue.state();
      if (!live?.merging) {
        terminal.result({ begun, ...(live && { live }) }, () => [
          live ? wordsOf(live) : 'There is no index yet.',
        ]);
        if (next) terminal.note('the index is being made anew, which ends with merging: refrain aws reindex');
        return EXIT.ok;
      }
      if (Date.now() + pauseMs > end) {
        terminal.result({ begun, live }, () => []);
        terminal.note('not finished; it goes on by itself');
        return EXIT.error;
      }
      const words = `merging ${count(live.graphs ?? 0, 'graph')}`;
      if (words !== said) terminal.say(words);
      said = words;
      await sleep(pauseMs, undefined, { signal });
    }
  });
}

const wordsOf = ({ index, segments, graphs }: IndexState): string =>
  graphs === undefined
    ? `${count(segments, 'segment')} are in ${index}, which OpenSearch Serverless merges by itself.`
    : `${count(segments, 'segment')} of ${index} lie in ${count(graphs, 'graph')}.`;
