import { mkdir, rm } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { encodeAudio } from '../../functions/adapters/media/encode.ts';
import { RefrainError } from '../../functions/core/errors.ts';
import type { Policy } from '../../functions/core/policy.ts';
import { SegmentGrid } from '../../functions/core/segment-grid.ts';
import { sentenceOf } from '../cli/errors.ts';
import { ProgressLine } from '../cli/progress.ts';
import { renderScan } from '../cli/render/scan.ts';
import { paint, screenOf } from '../cli/render/screen.ts';
import { clock, count } from '../cli/render/text.ts';
import { reportOf, type ScanReport } from '../cli/report.ts';
import { Runtime } from '../runtime.ts';
import { WriterLock } from '../store/writer-lock.ts';
import { compare } from './compare.ts';
import { kitchenSession, travelDiary, type Upload } from './scenario.ts';
import {
  caseTable,
  heading,
  indented,
  recordingLine,
  truthTable,
  truthTimeline,
  uploadLines,
  wrapped,
} from './show.ts';
import { perform } from './synth/performer.ts';
import { CATALOGUE, UNREGISTERED } from './synth/pieces.ts';
import { SAMPLE_RATE } from './synth/sound.ts';

// npm run demo: the main job from end to end. Only the music is made up; queue, decoder, model, index and handlers are
// the ones that run in production and behind the command line.

/** Emptied and filled again by every run. */
const FOLDER = process.env.REFRAIN_DEMO_DIR ?? join(import.meta.dirname, '../../.refrain/demo');
const STORE = join(FOLDER, 'store');

/** What one of the artists asks for; nobody else says anything, which means that a person has a look. */
const STRICT_ARTIST = 'Kessler Drive';
const NO_LONG_USE: Policy = {
  rules: [
    { when: [{ of: 'upload', unit: 'seconds', relation: 'atLeast', value: 15 }], action: 'block' },
    { when: [], action: 'track' },
  ],
};

const screen = screenOf(process.stdout);
const progress = new ProgressLine(process.stderr, screenOf(process.stderr));
const startedAt = performance.now();

/** @returns whether everything hidden was found, and nothing else */
async function demo(): Promise<boolean> {
  say(
    ...wrapped(
      'Refrain finds copied music in uploads. No audio comes along with it, so this demo plays music of its own, ' +
        'hides some of it in an upload, and searches that upload.',
      screen.columns,
    ),
  );
  await mkdir(FOLDER, { recursive: true });
  const lock = WriterLock.take(FOLDER);
  if (!lock) throw new RefrainError('DEMO_BUSY', 'the demo is running already; wait until it is done');
  try {
    await Promise.all(['store', 'recordings', 'uploads'].map(emptyFolder));
    let working = { title: '', file: 0, files: 1, since: 0 };
    await using runtime = await Runtime.open({
      storeDir: STORE,
      onProgress: ({ heardMs, claimedDurationMs }) =>
        progress.show({
          path: working.title,
          file: working.file,
          files: working.files,
          heardMs: Math.min(heardMs, claimedDurationMs ?? heardMs),
          totalMs: claimedDurationMs,
          elapsedMs: performance.now() - working.since,
        }),
    });
    const begin = (title: string, file: number, files: number) => {
      working = { title, file, files, since: performance.now() };
      progress.show({ path: title, file, files, heardMs: 0, elapsedMs: 0 });
    };

    const recordings = await fillCatalogue(runtime, begin);
    const diary = travelDiary(recordings);
    const foundAll = await searchUpload(runtime, diary, begin);
    const session = kitchenSession(recordings, UNREGISTERED.title);
    const foundNothing = await searchCleanUpload(runtime, session, begin);
    const firstCase = await showReviewQueue(runtime);
    conclude(foundAll && foundNothing, firstCase);
    return foundAll && foundNothing;
  } finally {
    progress.clear();
    lock.release();
  }
}

type Begin = (title: string, file: number, files: number) => void;

/** Plays the catalogue, writes it to FLAC files and registers them. Resolves to all recordings, by title. */
async function fillCatalogue(runtime: Runtime, begin: Begin): Promise<Map<string, Float32Array>> {
  const { model } = runtime.model;
  const grid = new SegmentGrid(model);
  say(
    ...heading(1, 'The catalogue: rights-holders register their recordings', screen),
    ...explained(
      'A synthesiser plays ten pieces. Each is registered as any recording is: decoded, cut into segments of ' +
        `${(grid.segmentMs / 1000).toFixed(1)} s, one every ${grid.hopMs / 1000} s, and turned into ` +
        `${model.dimension} numbers per segment by a neural network.`,
    ),
  );
  const recordings = new Map<string, Float32Array>();
  await runtime.store.references.putOwnerPolicy(STRICT_ARTIST, NO_LONG_USE);
  const since = performance.now();
  let audioMs = 0;
  let segments = 0;
  let place = 0;
  begin(CATALOGUE[0]!.title, 1, CATALOGUE.length);
  for await (const { piece, audio } of perform()) {
    const { title, artist, genre } = piece;
    recordings.set(title, audio);
    if (piece === UNREGISTERED) continue;
    begin(title, ++place, CATALOGUE.length);
    const path = join(FOLDER, 'recordings', `${title}.flac`);
    encodeAudio(path, [audio], { format: 'flac', sampleRate: SAMPLE_RATE, tags: { title, artist } });
    const { reference } = await runtime.register({ path, metadata: { title, artist, owner: artist } });
    if (reference.state !== 'active') {
      throw new RefrainError(
        'DEMO',
        `${title} was refused: ${reference.reasons.map((r) => r.message).join('; ')}`,
      );
    }
    audioMs += reference.durationMs;
    segments += reference.segments;
    say(recordingLine(reference, genre, screen));
  }
  say(
    ...explained(
      `${clock(audioMs)} of music played and registered in ${seconds(since)}: ${count(segments, 'segment')} to search.`,
      `${STRICT_ARTIST} wants uploads blocked that use 15 s or more; for the others, a person has a look.`,
    ),
  );
  return recordings;
}

async function searchUpload(runtime: Runtime, upload: Upload, begin: Begin): Promise<boolean> {
  say(
    ...heading(2, 'An upload with something to hide', screen),
    ...uploadLines(upload, screen),
    ...explained(
      'Its segments are looked up among those of the catalogue. What lies on one line in time is a match, ' +
        'with its place on both sides, its speed, and how sure Refrain is.',
    ),
  );
  const { report, took } = await scan(runtime, upload, begin);
  const { findings, unexpected } = compare(upload.hidden, report);
  const [verdict] = renderScan({ ...report, detections: [] }, screen);
  say(
    '',
    ...indented([`${verdict}${dim(`, in ${took}`)}`, '']),
    ...truthTimeline(report, findings, screen),
    '',
    ...truthTable(findings, screen),
    ...indented(
      unexpected.map(({ title }) => paint(screen, 'red', `found, but never hidden there: ${title}`)),
    ),
  );
  return report.verdict === 'flagged' && findings.every(({ right }) => right) && unexpected.length === 0;
}

async function searchCleanUpload(runtime: Runtime, upload: Upload, begin: Begin): Promise<boolean> {
  say(...heading(3, 'An upload with nothing to hide', screen), ...uploadLines(upload, screen), '');
  const { report, took } = await scan(runtime, upload, begin);
  const [verdict, ...more] = renderScan(report, screen);
  say(...indented([`${verdict}${dim(`, in ${took}`)}`, ...more]));
  return report.verdict === 'clear';
}

/** Encodes an upload and scans the file, as the command line does. */
async function scan(
  runtime: Runtime,
  upload: Upload,
  begin: Begin,
): Promise<{ report: ScanReport; took: string }> {
  const { words: _, ...file } = upload.file;
  const path = join(FOLDER, 'uploads', upload.name);
  encodeAudio(path, [upload.audio], { ...file, sampleRate: SAMPLE_RATE });
  begin(upload.name, 1, 1);
  const since = performance.now();
  const record = await runtime.scan(path);
  progress.clear();
  const named = await runtime.store.references.getMany(
    record.detections.map(({ referenceId }) => referenceId),
  );
  return { report: reportOf(upload.name, record, named), took: seconds(since) };
}

/** @returns the id of the most urgent case, if there is one */
async function showReviewQueue(runtime: Runtime): Promise<string | undefined> {
  const { cases, references } = runtime.store;
  const { items } = await cases.list({ state: 'open' });
  const { visible } = await runtime.store.queue('review').stats();
  const named = await references.getMany(items.map(({ detection }) => detection.referenceId));
  const wait = visible === 1 ? 'message waits' : 'messages wait';
  say(
    ...heading(4, `The review queue: ${visible} ${wait} for a moderator`, screen),
    ...(items.length > 0 ? caseTable(items, named, screen) : []),
  );
  return items[0]?.caseId;
}

function conclude(passed: boolean, caseId: string | undefined): void {
  say(
    '',
    passed
      ? `${paint(screen, 'green', '✔')} ${paint(screen, 'bold', 'Everything hidden was found, and nothing else.')} ${dim(`${seconds(startedAt)} in all.`)}`
      : `${paint(screen, 'red', '✘')} ${paint(screen, 'bold', 'The search did not agree with what was hidden; see above.')} ${dim(`${seconds(startedAt)} in all.`)}`,
  );
  const store = `--store ${shown(STORE)}`;
  say(
    '',
    paint(screen, 'bold', 'What to try next'),
    ...indented([
      ...(caseId ? [`npx refrain cases show ${caseId} ${store}`] : []),
      `npx refrain references ${store}`,
      'npx refrain register ~/Music && npx refrain scan video.mp4',
    ]),
    ...explained(`To listen to what was searched: ${shown(join(FOLDER, 'uploads'))}`),
  );
}

async function emptyFolder(name: string): Promise<void> {
  await rm(join(FOLDER, name), { recursive: true, force: true });
  await mkdir(join(FOLDER, name));
}

function say(...lines: readonly string[]): void {
  progress.clear();
  process.stdout.write(lines.map((line) => `${line}\n`).join(''));
}

const explained = (...paragraphs: string[]): string[] =>
  indented(paragraphs.flatMap((text) => wrapped(text, screen.columns - 3).map(dim)));
const dim = (text: string) => paint(screen, 'dim', text);
const seconds = (since: number) => `${((performance.now() - since) / 1000).toFixed(1)} s`;

function shown(path: string): string {
  const way = relative(process.cwd(), path);
  return way.startsWith('..') ? path : way;
}

// `npm run demo | head`: a reader that had enough is no error.
process.stdout.on('error', () => process.exit());

try {
  process.exitCode = (await demo()) ? 0 : 1;
} catch (error) {
  progress.clear();
  if (process.env.REFRAIN_DEBUG) console.error(error);
  process.stderr.write(`${paint(screenOf(process.stderr), 'red', 'refrain demo:')} ${sentenceOf(error)}\n`);
  process.exitCode = 1;
}
