import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { z } from 'zod';
import { ScanReport } from '../../local/cli/report.ts';
import { tracksIn } from '../accuracy/split.ts';
import { type Hidden, makeUploads } from './uploads.ts';

// The main job on real music, with the command line and nothing else: register an album, find it in uploads that hide
// it, and find nothing in music that is not it. Exits 1 when a promise does not hold.

const EDGE_TOLERANCE_MS = 1000;
const SELF_COVERAGE = 0.9;
/** Shorter ones are jingles. */
const TRACK_SECONDS = 30;

const root = join(import.meta.dirname, '../..');
const broken: string[] = [];
const promise = (holds: boolean, what: string) => {
  if (!holds) broken.push(what);
  return holds ? '' : '  <-- not as promised';
};

await execute('models/train/fetch_music.sh', ['wesnoth-1.16-music', 'ufoai-music', 'fillets-ng-data-nl']);
const album = (await tracksIn('wesnoth-1.16-music')).filter(({ seconds }) => seconds >= TRACK_SECONDS);
const others = await tracksIn('ufoai-music');
const store = await mkdtemp(join(tmpdir(), 'refrain-real-'));
try {
  await register();
  await findHidden();
  await findNothing();
  await findThemselves();
} finally {
  await rm(store, { recursive: true, force: true });
}
console.log(
  broken.length === 0
    ? '\nEverything is as promised.'
    : `\nNot as promised:\n${broken.map((line) => `- ${line}`).join('\n')}`,
);
process.exitCode = broken.length === 0 ? 0 : 1;

async function register(): Promise<void> {
  const Registered = z.object({ state: z.string() }).loose();
  const started = performance.now();
  const lines = await refrain(['register', ...album.map(({ path }) => path)]);
  const states = lines.map((line) => Registered.parse(line).state);
  const active = states.filter((state) => state === 'active').length;
  const hours = album.reduce((sum, { seconds }) => sum + seconds, 0) / 3600;
  const seconds = (performance.now() - started) / 1000;
  const note = promise(active === 35, `35 tracks registered, not ${active}`);
  console.log(
    `Registered ${active} of ${album.length} Wesnoth tracks, ${hours.toFixed(2)} h, in ${seconds.toFixed(0)} s${note}\n`,
  );
}

async function findHidden(): Promise<void> {
  for (const upload of await makeUploads(album)) {
    const report = await scan(upload.path);
    console.log(`${upload.title}: ${report.verdict}, ${(report.durationMs / 1000).toFixed(0)} s`);
    for (const hidden of upload.hidden) console.log(`  ${tell(upload.title, hidden, report)}`);
    const expected = new Set(upload.hidden.map(({ path }) => path));
    const spurious = report.detections.filter(({ path }) => !expected.has(path));
    for (const { path, confidence, spans } of spurious) {
      console.log(
        `  ${basename(path)} was not hidden: ${confidence.toFixed(3)} at ${spans[0]!.uploadStartMs} ms${promise(false, `${upload.title}: ${basename(path)} found, which was not hidden`)}`,
      );
    }
  }
}

/** One hidden excerpt against what was found of it: the four errors in milliseconds. */
function tell(title: string, hidden: Hidden, report: ScanReport): string {
  const name = basename(hidden.path).padEnd(28);
  const spans = report.detections
    .filter(({ path }) => path === hidden.path)
    .flatMap((detection) => detection.spans);
  const span = spans[0];
  if (!span) return `${name} not found${promise(false, `${title}: ${basename(hidden.path)} not found`)}`;
  const errors = [
    span.uploadStartMs - hidden.uploadStartMs,
    span.uploadEndMs - hidden.uploadEndMs,
    span.referenceStartMs - hidden.referenceStartMs,
    span.referenceEndMs - hidden.referenceEndMs,
  ];
  const good = spans.length === 1 && errors.every((error) => Math.abs(error) <= EDGE_TOLERANCE_MS);
  const [start, end] = [span.uploadStartMs, span.uploadEndMs].map((ms) => (ms / 1000).toFixed(1));
  const told = errors.map((error) => `${error > 0 ? '+' : ''}${error}`).join(' / ');
  const pieces = spans.length > 1 ? `, in ${spans.length} pieces` : '';
  return `${name} found ${start}-${end} s, confidence ${span.confidence.toFixed(4)}, errors (upload start, end / reference start, end) ${told} ms${pieces}${promise(good, `${title}: ${basename(hidden.path)} off by ${told} ms${pieces}`)}`;
}

async function findNothing(): Promise<void> {
  const reports = await scanAll(others.map(({ path }) => path));
  const clear = reports.filter(({ verdict }) => verdict === 'clear').length;
  const hours = others.reduce((sum, { seconds }) => sum + seconds, 0) / 3600;
  console.log(`\nUFO:AI: ${clear} of ${others.length} tracks clear, ${hours.toFixed(2)} h`);
  for (const { path, verdict, detections } of reports) {
    if (verdict === 'clear') continue;
    const found = detections
      .map((d) => `${basename(d.path)} ${d.confidence.toFixed(3)} at ${d.spans[0]!.uploadStartMs} ms`)
      .join(', ');
    console.log(
      `  ${basename(path)}: ${verdict} ${found}${promise(false, `UFO:AI ${basename(path)} is ${verdict}, not clear`)}`,
    );
  }
}

async function findThemselves(): Promise<void> {
  const reports = await scanAll(album.map(({ path }) => path));
  const covered = reports.map((report) => {
    const self = report.detections.find(({ path }) => path === report.path);
    return {
      path: report.path,
      coverage: self?.coverage.upload ?? 0,
      others: report.detections.filter((d) => d !== self),
    };
  });
  const least = Math.min(...covered.map(({ coverage }) => coverage));
  const enough = covered.filter(({ coverage }) => coverage > SELF_COVERAGE).length;
  console.log(
    `\nWesnoth against itself: ${enough} of ${covered.length} found as themselves over more than 90 % of their length (least ${(least * 100).toFixed(1)} %)`,
  );
  for (const { path, coverage, others } of covered) {
    if (coverage <= SELF_COVERAGE) {
      console.log(
        `  ${basename(path)}: ${(coverage * 100).toFixed(1)} %${promise(false, `${basename(path)} found as itself over ${(coverage * 100).toFixed(1)} %`)}`,
      );
    }
    for (const other of others) {
      console.log(
        `  ${basename(path)} also holds ${basename(other.path)}: ${(other.coverage.upload * 100).toFixed(1)} %, confidence ${other.confidence.toFixed(3)}`,
      );
    }
  }
}

async function scan(path: string): Promise<ScanReport> {
  return (await scanAll([path]))[0]!;
}

async function scanAll(paths: readonly string[]): Promise<ScanReport[]> {
  return (await refrain(['scan', ...paths])).map((line) => ScanReport.parse(line));
}

/** Runs the command line and resolves to the JSON lines that it prints. */
async function refrain(args: string[]): Promise<unknown[]> {
  const text = await execute(
    process.execPath,
    ['local/cli/bin.js', ...args, '--store', store, '--jsonl'],
    [0, 3],
  );
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
}

function execute(command: string, args: string[], good = [0]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] });
    let text = '';
    child.stdout.on('data', (data) => {
      text += data;
    });
    child.on('error', reject);
    child.on('close', (code) => {
      if (good.includes(code ?? -1)) resolve(text);
      else reject(new Error(`${command} ${args[0]} ended with ${code}`));
    });
  });
}
