import { stat } from 'node:fs/promises';
import { type FSWatcher, watch as watchFolder } from 'chokidar';
import { type Command, InvalidArgumentError } from 'commander';
import { RefrainError } from '../../../functions/core/errors.ts';
import { forEachConcurrently } from '../../../functions/steps/pool.ts';
import { sentenceOf, UsageError } from '../errors.ts';
import { EXIT } from '../exit.ts';
import { looksLikeMedia } from '../files.ts';
import { renderScan } from '../render/scan.ts';
import { safe } from '../render/text.ts';
import { action, type Session } from '../session.ts';
import { Settling } from '../settling.ts';
import { openEngine } from '../side.ts';
import { checkCatalogue, scanFile } from './scan.ts';
import { modelOption, trackProgress, waitOption } from './work.ts';

interface WatchOptions {
  settle: number;
  model: string;
  wait: number;
}

/** What browsers and copying programs call a file that is still growing. */
const UNFINISHED = /\.(part|partial|crdownload|download|tmp|temp)$/i;

export function addWatch(program: Command): void {
  program
    .command('watch')
    .summary('scan what lands in a folder')
    .description(
      'Scans every file that lands in a folder or below it, as soon as it is completely written, and prints results as ' +
        'they come. What lies there already is scanned first, unless it was scanned before. Ctrl-C ends.',
    )
    .argument('<folder>')
    .option('--settle <seconds>', 'a file that did not change for so long is complete', parseSeconds, 2)
    .addOption(modelOption())
    .addOption(waitOption())
    .addHelpText(
      'after',
      `
Examples:
  $ refrain watch uploads/
  $ refrain watch uploads/ --jsonl >> verdicts.jsonl

Exit code: 0 when it was ended by Ctrl-C, 1 when it had to give up, 2 wrong usage.`,
    )
    .action(action(watch));
}

async function watch(
  session: Session,
  folder: string,
  { settle, model, wait }: WatchOptions,
): Promise<number> {
  const { terminal, signal } = session;
  const isFolder = await stat(folder).then(
    (stats) => stats.isDirectory(),
    (error) => {
      throw new UsageError(`cannot watch: ${sentenceOf(error)}`);
    },
  );
  if (!isFolder) throw new UsageError(`${safe(folder)} is not a folder; "refrain scan" scans a single file`);

  const giveUp = new AbortController();
  const watching: Session = { ...session, signal: AbortSignal.any([signal, giveUp.signal]) };
  const progress = trackProgress(terminal);
  await using engine = await openEngine(watching, {
    modelDir: model,
    waitMinutes: wait,
    onProgress: progress.heard,
  });
  await checkCatalogue(engine, session);

  terminal.say(`Watching ${safe(folder)}; Ctrl-C ends.`);
  const startedAt = new Date().toISOString();
  const tell = async (path: string) => {
    progress.begin(path);
    const { report, finishedAt } = await scanFile(path, engine, watching);
    // A verdict from before this watch began was told then.
    if (finishedAt && finishedAt < startedAt) terminal.progress.clear();
    else terminal.result(report, (screen) => renderScan(report, screen));
  };
  try {
    await forEachConcurrently(landing(folder, settle, watching), engine.concurrency, (path) =>
      tell(path).catch((error) => {
        // Otherwise it would be heard of with the next file that lands.
        giveUp.abort();
        throw error;
      }),
    );
  } catch (error) {
    if (!signal.aborted) throw error;
  }
  return EXIT.ok;
}

/**
 * The files of a folder, each when it is complete: those that are there, then those that come or change.
 *
 * Chokidar's own `awaitWriteFinish` is not used: it believes what it finds at the start to be complete, and looks at
 * the size alone.
 */
async function* landing(
  folder: string,
  settleSeconds: number,
  { terminal, signal }: Session,
): AsyncGenerator<string> {
  const complete = new Set<string>();
  let wake = () => {};
  let failure: unknown;
  const fail = (error: unknown) => {
    failure = error;
    wake();
  };
  const settling = new Settling(settleSeconds * 1000, lookAt, (path) => {
    complete.add(path);
    wake();
  });
  const changed = (path: string) => {
    complete.delete(path);
    settling.touch(path);
  };
  const gone = (path: string) => {
    complete.delete(path);
    settling.forget(path);
  };
  const watcher: FSWatcher = watchFolder(folder, {
    ignored: (path, stats) => stats?.isFile() === true && (!looksLikeMedia(path) || UNFINISHED.test(path)),
    followSymlinks: false,
  });
  watcher
    .on('add', changed)
    .on('change', changed)
    .on('unlink', gone)
    // Of all that goes away, chokidar keeps silent about the folder itself.
    .on('raw', (event) => {
      if (event !== 'rename') return;
      stat(folder).catch(() =>
        fail(new RefrainError('FOLDER_GONE', `${safe(folder)} is not there any more`)),
      );
    })
    .on('error', (error) => {
      const { code, path, syscall } = error as NodeJS.ErrnoException;
      if (code === 'EACCES' || code === 'EPERM') {
        terminal.note(`${safe(path ?? folder)} is not watched: permission denied`);
      } else if (code === 'ENOSPC' && syscall === 'watch') {
        fail(
          new RefrainError(
            'TOO_MANY_WATCHES',
            'this system watches as many folders as it may; raise fs.inotify.max_user_watches',
            { cause: error },
          ),
        );
      } else fail(error);
    });
  signal.addEventListener('abort', () => wake(), { once: true });
  try {
    while (!signal.aborted) {
      if (failure) throw failure;
      const [next] = complete;
      if (next !== undefined) {
        complete.delete(next);
        yield next;
      } else {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  } finally {
    settling.close();
    await watcher.close();
  }
}

/** What must not change while a file settles. */
const lookAt = (path: string): Promise<string | undefined> =>
  stat(path, { bigint: true }).then(
    ({ size, mtimeNs, ino }) => `${size} ${mtimeNs} ${ino}`,
    () => undefined,
  );

function parseSeconds(text: string): number {
  const seconds = Number(text);
  if (text.trim() !== '' && seconds >= 0 && seconds <= 3600) return seconds;
  throw new InvalidArgumentError('It must be a number of seconds, 0 to 3600.');
}
