import type { Command } from 'commander';
import { z } from 'zod';
import { Reference } from '../../../functions/core/reference.ts';
import { Reason } from '../../../functions/core/scan.ts';
import type { Registration } from '../../../functions/register/dependencies.ts';
import { forEachConcurrently } from '../../../functions/steps/pool.ts';
import { codeOf, sentenceOf, UsageError } from '../errors.ts';
import { EXIT } from '../exit.ts';
import { findFiles, skippedWords } from '../files.ts';
import { type Described, matchMetadata, readMetadata } from '../metadata.ts';
import { nameOf } from '../render/scan.ts';
import { paint, type Screen, type Style } from '../render/screen.ts';
import { renderTable } from '../render/table.ts';
import { clock, safe } from '../render/text.ts';
import { action, type Session } from '../session.ts';
import { openEngine } from '../side.ts';
import { endsTheBatch, modelOption, trackProgress, waitOption } from './work.ts';

/** What the command line says of one file that was to be registered. */
export const RegisterReport = z.object({
  path: z.string(),
  /**
   * `existing`: this recording is in the catalogue already. `updated`: so it is, and what is said of it changed.
   * `failed`: it could not be read, or something broke.
   */
  outcome: z.enum(['admitted', 'updated', 'existing', 'refused', 'failed']),
  /** What an update changed. */
  changed: z.array(z.string()).optional(),
  referenceId: z.string().nullable(),
  /** Of the reference; `failed` where there is none. */
  state: z.enum([...Reference.shape.state.options, 'failed']),
  reasons: z.array(Reason),
  title: z.string().optional(),
  artist: z.string().optional(),
  owner: z.string().optional(),
  isrc: z.string().optional(),
  durationMs: z.number(),
  segments: z.number(),
});
export type RegisterReport = z.infer<typeof RegisterReport>;
type Outcome = RegisterReport['outcome'];

interface RegisterOptions {
  metadata?: string;
  owner?: string;
  id?: string;
  model: string;
  wait: number;
}

export function addRegister(program: Command): void {
  program
    .command('register')
    .summary('put recordings into the catalogue')
    .description(
      'Puts recordings into the catalogue, so that uploads are searched for them. Folders are taken with all that is ' +
        'below them. A recording that is there already is not registered twice, but what the metadata says of it counts ' +
        'from then on; one that was refused is tried again.',
    )
    .argument('<path...>', 'files and folders')
    .option(
      '--metadata <file>',
      'CSV or JSON with a row per file: path, id, title, artist, album, isrc, owner, policy, excluded',
    )
    .option('--owner <name>', 'who owns the recordings (where the metadata names nobody)')
    .option('--id <id>', 'your own id of the recording; for a single file')
    .addOption(modelOption())
    .addOption(waitOption())
    .addHelpText(
      'after',
      `
Title, artist, album and ISRC come from the file's tags where the metadata says nothing.
A policy in the metadata is an action (block, review, monetise, track, allow) or the JSON
that "refrain policy --help" shows. What is excluded ("1:05-1:30, 2:00-2:10") is not
searched for.

Examples:
  $ refrain register ~/Music/label
  $ refrain register masters/ --metadata masters.csv --owner "Night Label"
  $ refrain register song.flac --id catalogue-0042

Exit code: 0 all are in the catalogue, 1 some were refused or failed, 2 wrong usage or
metadata (nothing was done).`,
    )
    .action(action(register));
}

async function register(session: Session, paths: string[], options: RegisterOptions): Promise<number> {
  const { terminal } = session;
  const { files, unreadable, skipped } = await findFiles(paths);
  const described = await describe(files, options, session);
  const leftOut = skippedWords(skipped);
  if (leftOut) terminal.note(leftOut);

  const reports: RegisterReport[] = [];
  const tell = (report: RegisterReport) => {
    reports.push(report);
    terminal.result(report, (screen) => lineOf(report, screen));
  };
  for (const { path, reason } of unreadable) tell(failed(path, reason));
  if (files.length > 0) await registerAll(files, described, options, session, tell);
  else if (unreadable.length === 0) terminal.note('there is nothing to register in there');

  terminal.say('', ...summary(reports, terminal.screen));
  return reports.some(({ outcome }) => outcome === 'refused' || outcome === 'failed') ? EXIT.error : EXIT.ok;
}

async function registerAll(
  files: readonly string[],
  described: ReadonlyMap<string, Described>,
  { owner, id, model, wait }: RegisterOptions,
  session: Session,
  tell: (report: RegisterReport) => void,
): Promise<void> {
  const { terminal, signal } = session;
  const progress = trackProgress(terminal, files.length);
  await using engine = await openEngine(session, {
    modelDir: model,
    waitMinutes: wait,
    onProgress: progress.heard,
  });
  await forEachConcurrently(files, engine.concurrency, async (path) => {
    signal.throwIfAborted();
    progress.begin(path);
    const { referenceId = id, metadata = {} } = described.get(path) ?? {};
    try {
      const registration = await engine.register({
        path,
        metadata: { ...(owner !== undefined && { owner }), ...metadata },
        ...(referenceId !== undefined && { referenceId }),
      });
      tell(reportOf(path, registration));
    } catch (error) {
      if (signal.aborted || endsTheBatch(error)) throw error;
      tell(failed(path, { code: codeOf(error), message: sentenceOf(error) }));
    }
  });
}

/** All that can be wrong with the metadata is found before any work starts. */
async function describe(
  files: readonly string[],
  { metadata, id, owner }: RegisterOptions,
  { terminal }: Session,
): Promise<Map<string, Described>> {
  if (id !== undefined && files.length > 1) {
    throw new UsageError(
      `--id names one recording, but there are ${files.length} files; use a metadata file with a column "id"`,
    );
  }
  if (id !== undefined && (id === '' || id.length > 200 || /\p{Cc}/u.test(id))) {
    throw new UsageError('--id must have 1 to 200 characters, and no control characters');
  }
  if (owner?.trim() === '') throw new UsageError('--owner must name somebody');
  if (metadata === undefined) return new Map();
  const { rows, unused } = await readMetadata(metadata);
  if (unused.length > 0)
    terminal.note(`columns that mean nothing to Refrain: ${unused.map(safe).join(', ')}`);
  return matchMetadata(rows, files, metadata);
}

function reportOf(path: string, { reference, outcome, changed }: Registration): RegisterReport {
  const { referenceId, state, reasons, title, artist, owner, isrc, durationMs, segments } = reference;
  return {
    path,
    outcome,
    ...(changed.length > 0 && { changed }),
    referenceId,
    state,
    reasons,
    ...(title !== undefined && { title }),
    ...(artist !== undefined && { artist }),
    ...(owner !== undefined && { owner }),
    ...(isrc !== undefined && { isrc }),
    durationMs,
    segments,
  };
}

const failed = (path: string, reason: Reason): RegisterReport => ({
  path,
  outcome: 'failed',
  referenceId: null,
  state: 'failed',
  reasons: [reason],
  durationMs: 0,
  segments: 0,
});

const OUTCOMES: Record<Outcome, { sign: string; word: string; style: Style }> = {
  admitted: { sign: '✔', word: 'admitted', style: 'green' },
  updated: { sign: '↻', word: 'updated', style: 'cyan' },
  existing: { sign: '=', word: 'already there', style: 'dim' },
  refused: { sign: '✘', word: 'refused', style: 'magenta' },
  failed: { sign: '✘', word: 'failed', style: 'red' },
};

function lineOf(report: RegisterReport, screen: Screen): string[] {
  const { sign, word, style } = OUTCOMES[report.outcome];
  const about = [
    ...(report.referenceId && report.outcome !== 'refused'
      ? [nameOf({ ...report, path: report.path, referenceId: report.referenceId })]
      : []),
    ...(report.durationMs > 0 ? [clock(report.durationMs)] : []),
    ...(report.changed ? [`new: ${report.changed.join(', ')}`] : []),
    ...report.reasons.map(({ code, message }) => `${safe(message)} (${code})`),
  ];
  return [
    `${paint(screen, style, `${sign} ${word}`)}  ${safe(report.path)}  ${paint(screen, 'dim', about.join(', '))}`,
  ];
}

function summary(reports: readonly RegisterReport[], screen: Screen): string[] {
  const rows = (Object.keys(OUTCOMES) as Outcome[]).flatMap((outcome) => {
    const of = reports.filter((report) => report.outcome === outcome);
    if (of.length === 0) return [];
    const reasons = Map.groupBy(
      of.flatMap((report) => report.reasons),
      ({ code }) => code,
    );
    const why = [...reasons].map(([code, { length }]) => `${length} × ${code}`).join(', ');
    const { word, style } = OUTCOMES[outcome];
    const audioMs = of.reduce((sum, { durationMs }) => sum + durationMs, 0);
    return [[paint(screen, style, word), String(of.length), audioMs > 0 ? clock(audioMs) : '', why]];
  });
  const columns = [
    { title: 'outcome' },
    { title: 'files', align: 'right' as const },
    { title: 'audio', align: 'right' as const },
    { title: 'why', shrinkTo: 10 },
  ];
  return rows.length === 0 ? [] : renderTable(columns, rows, screen);
}
