import type { Command } from 'commander';
import { RefrainError } from '../../../functions/core/errors.ts';
import type { Verdict } from '../../../functions/core/scan.ts';
import { forEachConcurrently } from '../../../functions/steps/pool.ts';
import type { Engine } from '../../engine.ts';
import { codeOf, sentenceOf } from '../errors.ts';
import { exitCodeOf } from '../exit.ts';
import { findFiles, skippedWords, whyUnreadable } from '../files.ts';
import { paintVerdict, renderScan } from '../render/scan.ts';
import { paint } from '../render/screen.ts';
import { count } from '../render/text.ts';
import { reportOf, type ScanReport, unreadable } from '../report.ts';
import { action, type Session } from '../session.ts';
import { openEngine, placeOf, type Records } from '../side.ts';
import { endsTheBatch, modelOption, trackProgress, waitOption } from './work.ts';

interface ScanOptions {
  model: string;
  wait: number;
  again?: boolean;
}

export function addScan(program: Command): void {
  program
    .command('scan')
    .summary('search uploads for what is in the catalogue')
    .description(
      'Searches files for the recordings of the catalogue, and says where which of them lies. Folders are taken with ' +
        'all that is below them. A file that cannot be read is told, and the others go on. A scan that was broken off ' +
        'goes on where it stopped; a finished one is not done again while neither file nor catalogue changed.',
    )
    .argument('<path...>', 'files and folders')
    .option('--again', 'scan also what was scanned before')
    .addOption(modelOption())
    .addOption(waitOption())
    .addHelpText(
      'after',
      `
Verdicts:
  clear       searched to the end, and nothing was found
  flagged     something of the catalogue is in there
  rejected    nothing of it could be searched; the reason says why
  incomplete  a part could not be searched, and nothing was found in the rest

With --jsonl, a line per file: path, scanId, verdict, reason, durationMs, searchedMs,
unsearched, model, and detections with their spans on both sides in milliseconds.

Examples:
  $ refrain scan upload.mp3
  $ refrain scan uploads/ --jsonl | jq -r 'select(.verdict != "clear") | .path'

Exit code: 0 every file is clear, 3 at least one is flagged, 1 none is flagged but some
are rejected or incomplete, 2 wrong usage.`,
    )
    .action(action(scan));
}

async function scan(session: Session, paths: string[], options: ScanOptions): Promise<number> {
  const { terminal, signal } = session;
  const found = await findFiles(paths);
  const leftOut = skippedWords(found.skipped);
  if (leftOut) terminal.note(leftOut);

  const verdicts: Verdict[] = [];
  let known = 0;
  const tell = (report: ScanReport) => {
    verdicts.push(report.verdict);
    terminal.result(report, (screen) => [
      ...renderScan(report, screen),
      ...(report.detections.length > 0 ? [''] : []),
    ]);
  };
  for (const { path, reason } of found.unreadable) tell(unreadable(path, reason));

  if (found.files.length > 0) {
    const progress = trackProgress(terminal, found.files.length);
    await using engine = await openEngine(session, {
      modelDir: options.model,
      waitMinutes: options.wait,
      onProgress: progress.heard,
    });
    await checkCatalogue(engine, session);
    const startedAt = new Date().toISOString();
    await forEachConcurrently(found.files, engine.concurrency, async (path) => {
      signal.throwIfAborted();
      progress.begin(path);
      const { report, finishedAt } = await scanFile(path, engine, { again: options.again === true, signal });
      tell(report);
      if (finishedAt && finishedAt < startedAt) known++;
    });
  } else if (found.unreadable.length === 0) {
    terminal.note('there is nothing to scan in there');
  }
  if (verdicts.length > 1) {
    const counts = Map.groupBy(verdicts, (verdict) => verdict);
    const words = [...counts].map(
      ([verdict, { length }]) => `${length} ${paintVerdict(terminal.screen, verdict)}`,
    );
    terminal.say('', `${count(verdicts.length, 'file')}: ${words.join(', ')}`);
  }
  if (known > 0) {
    const which =
      verdicts.length === 1 ? 'This verdict is' : `${known} of these verdicts ${known === 1 ? 'is' : 'are'}`;
    const words = `${which} from an earlier scan: file and catalogue are the same. After a change of rules, --again asks anew.`;
    terminal.say(paint(terminal.screen, 'dim', words));
  }
  return exitCodeOf(verdicts);
}

/**
 * Scans one file and never throws for the file's sake: what goes wrong becomes its reason. Without `finishedAt`, there
 * is no verdict on record.
 */
export async function scanFile(
  path: string,
  engine: Engine,
  { again = false, signal }: { again?: boolean; signal: AbortSignal },
): Promise<{ report: ScanReport; finishedAt?: string | undefined }> {
  try {
    const record = await engine.scan(path, { again });
    const { finishedAt } = record;
    return { report: reportOf(path, record, await referencesOf(record, engine)), finishedAt };
  } catch (error) {
    if (signal.aborted || endsTheBatch(error)) throw error;
    return { report: whyNot(error, path) };
  }
}

function whyNot(error: unknown, path: string): ScanReport {
  const code = codeOf(error);
  // Gone or closed between finding and opening it: the same words as for a file that never was there.
  if (code === 'OBJECT_NOT_FOUND') return unreadable(path, whyUnreadable({ code: 'ENOENT' }, path));
  if (code === 'OBJECT_UNREADABLE') return unreadable(path, whyUnreadable({ code: 'EACCES' }, path));
  // Tried several times, and given up: it stays among the dead letters.
  return { ...unreadable(path, { code, message: sentenceOf(error) }), verdict: 'incomplete' };
}

export const referencesOf = (
  { detections }: { detections: { referenceId: string }[] },
  { references }: Pick<Records, 'references'>,
) => references.getMany(detections.map(({ referenceId }) => referenceId));

/**
 * Where nothing is registered everything is clear: true, and most likely not what was meant. Where something cannot be
 * found though it is registered, clear would be a lie.
 * @throws RefrainError (OUTDATED_CATALOGUE)
 */
export async function checkCatalogue(engine: Engine, session: Session): Promise<void> {
  const outdated = await engine.outdated();
  if (outdated > 0) {
    throw new RefrainError(
      'OUTDATED_CATALOGUE',
      `${count(outdated, 'recording')} in ${placeOf(session)} ${outdated === 1 ? 'was' : 'were'} registered with another ` +
        'model, and cannot be found with this one. Run "refrain register" with the same files again, or disable what is ' +
        'gone ("refrain references disable")',
    );
  }
  if (await engine.isEmpty()) {
    session.terminal.note(
      `the catalogue in ${placeOf(session)} is empty, so nothing can be found; "refrain register" fills it`,
    );
  }
}
