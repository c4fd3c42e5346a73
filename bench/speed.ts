import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { SegmentGrid } from '../functions/core/segment-grid.ts';
import type { Hit } from '../functions/core/segments.ts';
import type { PcmBlock } from '../functions/ports/decoder.ts';
import { DEFAULT_SCAN_SETTINGS } from '../functions/scan/dependencies.ts';
import type { Reopen } from '../functions/scan/hear-again.ts';
import { hitsOf, strideIn } from '../functions/scan/listen.ts';
import { matchHeard } from '../functions/scan/match.ts';
import { encodeWindow, joinWindows } from '../functions/scan/window-record.ts';
import { embedWindow } from '../functions/steps/embed-window.ts';
import { readStretch } from '../functions/steps/read-stretch.ts';
import { windowsOf } from '../functions/steps/windows.ts';
import { fitHeapToSound } from '../local/cli/heap.ts';
import { localDecoder } from '../local/decoder.ts';
import { Runtime } from '../local/runtime.ts';
import { BENCH_CACHE, hashOf, run } from './accuracy/audio.ts';
import { fpcalc } from './accuracy/chromaprint.ts';
import { CONDITIONS } from './accuracy/conditions.ts';
import { type CatalogueEntry, RefrainEngine, registered } from './accuracy/engine.ts';
import { type LatencySummary, latenciesOf } from './accuracy/latency.ts';
import { catalogueOf, counter } from './accuracy/queries.ts';
import { drawRecipes, render } from './accuracy/render.ts';
import { protocolOf, type Track, tracksIn, tracksOf } from './accuracy/split.ts';

// How fast, and in how much memory. Speeds are CPU time, of this process and the decoder's, so that other work on the
// machine does not blur them: "400x" means that an hour of audio takes nine CPU seconds.
//
//   npm run bench:speed                 everything (some minutes the first time: it makes hours of test files)
//
// Each measurement runs in a process of its own, pinned to one core where taskset exists. The uploads are music that is
// not in the catalogue.

const CATALOGUE_HOURS = 31;
const MEMORY_LIMIT_MB = 600;
/** Short files are scanned so often that their CPU time can be told from the clock's ticks. */
const MEASURED_SECONDS = 900;

interface Cpu {
  cpuSeconds: number;
  wallSeconds: number;
}

const times = (audioSeconds: number, seconds: number) => `${(audioSeconds / seconds).toFixed(0)}x`;
const percent = (share: number) => `${(share * 100).toFixed(0)} %`;

const task = process.argv[2];
if (task === undefined) await everything();
else console.log(JSON.stringify(await measure(task, process.argv.slice(3))));

async function everything(): Promise<void> {
  const say = (text: string) => console.error(text);
  const validation = await tracksOf('validation');
  const album = await tracksIn('wesnoth-1.16-music');
  const minutes = await longFile(3 / 60, validation);
  const hour = await longFile(1, validation);
  const threeHours = await longFile(3, [...validation, ...(await tracksOf('train'))]);
  const entries = await bigCatalogue();
  say('registering the catalogue unless it is there');
  const facts = await aside<{ hours: number; references: number; storeDir: string }>('catalogue', []);

  const lines: string[] = [];
  const tell = (line: string) => {
    lines.push(line);
    console.log(line);
  };
  tell(`# Speed and memory\n\n${new Date().toISOString().slice(0, 10)}, ${cpuName()}, one core, CPU time.\n`);

  for (const [name, path, seconds] of [
    ['3 min', minutes, 180],
    ['1 h', hour, 3600],
  ] as const) {
    const { stages, ...scan } = await aside<ScanCost>('scan', [path]);
    const parts = Object.entries(stages);
    const known = parts.reduce((sum, [, cpu]) => sum + cpu, 0);
    const shares = parts.map(([stage, cpu]) => `${stage} ${percent(cpu / scan.cpuSeconds)}`);
    tell(
      `- Scan of ${name} of MP3 (192 kb/s stereo) against ${facts.hours.toFixed(1)} h: **${times(seconds, scan.cpuSeconds)}** real time (wall ${times(seconds, scan.wallSeconds)}); ${shares.join(', ')}, the rest ${percent(Math.max(0, 1 - known / scan.cpuSeconds))}.`,
    );
    tell(`  Each stage alone: ${parts.map(([stage, cpu]) => `${stage} ${times(seconds, cpu)}`).join(', ')}.`);
  }

  const mp3 = await aside<Cpu>('register', [hour]);
  tell(
    `- Registration of 1 h of MP3: **${times(3600, mp3.cpuSeconds)}** (wall ${times(3600, mp3.wallSeconds)}).`,
  );
  const albumPaths = album.map(({ path }) => path);
  const vorbis = await aside<Cpu>('register', albumPaths);
  const albumSeconds = album.reduce((sum, { seconds }) => sum + seconds, 0);
  tell(
    `- Registration of ${album.length} files of Ogg Vorbis music (${(albumSeconds / 3600).toFixed(1)} h): **${times(albumSeconds, vorbis.cpuSeconds)}** (wall ${times(albumSeconds, vorbis.wallSeconds)}).`,
  );
  const decoding = await aside<Cpu>('ffmpeg', albumPaths);
  const peer = await aside<Cpu>('fpcalc', albumPaths);
  tell(
    `  The same files only decoded, by ffmpeg: ${times(albumSeconds, decoding.cpuSeconds)}; fingerprinted by fpcalc (Chromaprint): ${times(albumSeconds, peer.cpuSeconds)}.`,
  );

  const [reference] = album;
  for (const [catalogue, fill] of [
    ['one recording', async (dir: string) => void (await refrain('register', reference!.path, dir))],
    [`${facts.hours.toFixed(1)} h`, (dir: string) => cp(facts.storeDir, dir, { recursive: true })],
  ] as const) {
    const one = await peakMemory(hour, fill);
    const three = await peakMemory(threeHours, fill);
    tell(
      `- Peak memory of \`refrain scan\` against ${catalogue}, all processes together: ${one.toFixed(0)} MB for 1 h, **${three.toFixed(0)} MB** for 3 h (limit ${MEMORY_LIMIT_MB} MB).`,
    );
  }

  const latency = await aside<LatencySummary>('latency', []);
  tell(
    `- A 10 s query against ${facts.hours.toFixed(1)} h (${entries.length} references), after decoding: **${latency.median.toFixed(0)} ms** median, ${latency.p95.toFixed(0)} ms at the 95th percentile (embed ${latency.embed.toFixed(0)}, search ${latency.search.toFixed(0)}, match ${latency.match.toFixed(0)}).`,
  );

  await mkdir(join(import.meta.dirname, 'results'), { recursive: true });
  await writeFile(join(import.meta.dirname, 'results/speed.md'), `${lines.join('\n')}\n`);
}

function cpuName(): string {
  const name =
    existsSync('/proc/cpuinfo') && /model name\s*:\s*(.*)/.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1];
  return name || process.arch;
}

/** Runs one measurement in its own process, on one core. */
function aside<T>(name: string, args: readonly string[]): Promise<T> {
  const command = [process.execPath, import.meta.filename, name, ...args];
  const pinned = existsSync('/usr/bin/taskset') ? ['taskset', '-c', '0', ...command] : command;
  return new Promise((resolve, reject) => {
    const child = spawn(pinned[0]!, pinned.slice(1), { stdio: ['ignore', 'pipe', 'inherit'] });
    let text = '';
    child.stdout.on('data', (data) => {
      text += data;
    });
    child.on('error', reject);
    child.on('close', (code) =>
      code === 0 ? resolve(JSON.parse(text)) : reject(new Error(`${name} ended with ${code}`)),
    );
  });
}

async function measure(name: string, args: string[]): Promise<unknown> {
  fitHeapToSound(); // as the command line does
  if (name === 'catalogue') {
    const { facts, storeDir } = await registered(
      await bigCatalogue(),
      counter(console.error, 'registered', 0),
    );
    return { ...facts, storeDir };
  }
  if (name === 'scan') return measureScan(args[0]!);
  if (name === 'register') return measureRegistration(args);
  if (name === 'ffmpeg') return cpuOfEach(args, onlyDecoded);
  if (name === 'fpcalc') return cpuOfEach(args, fpcalc);
  if (name === 'latency') return measureLatency();
  throw new Error(`no measurement ${name}`);
}

interface ScanCost extends Cpu {
  /** CPU seconds of each stage alone. */
  stages: Record<'decode' | 'embed' | 'search' | 'match', number>;
}

/** The whole scan, and each of its stages alone on the same audio. */
async function measureScan(path: string): Promise<ScanCost> {
  await using engine = await RefrainEngine.open(await bigCatalogue(), () => {});
  const { runtime } = engine;
  const { model } = runtime.model;
  const grid = new SegmentGrid(model);
  const { windowSegments } = DEFAULT_SCAN_SETTINGS;
  const catalogue = runtime.store.catalogue(model);
  const { references } = runtime.store;
  const deps = {
    embedder: runtime.model,
    catalogue,
    references,
    settings: DEFAULT_SCAN_SETTINGS,
    log: console,
  };
  const { cpuSeconds, wallSeconds } = await costOfScan(runtime, path);

  const decoder = await localDecoder();
  const stages = { decode: 0, embed: 0, search: 0, match: 0 };
  const timed = async <T>(stage: keyof typeof stages, work: () => Promise<T>): Promise<T> => {
    let result: T;
    stages[stage] = (await cpuOf(async () => (result = await work()))).cpuSeconds;
    return result!;
  };
  const decoded = await timed('decode', async () => {
    const audio = await decoder.open(path, { sampleRate: model.sampleRate });
    return { blocks: await collect(audio.blocks), ...(await audio.summary) };
  });
  const embedded = await timed('embed', async () => {
    const windows = [];
    for await (const window of windowsOf(stream(decoded.blocks), grid, windowSegments)) {
      windows.push(await embedWindow(window, runtime.model));
    }
    return windows;
  });
  const searched = await timed('search', async () => {
    const found: Hit[][][] = [];
    const stride = await strideIn(deps);
    for (const window of embedded) found.push(await hitsOf(window, stride, deps));
    return found;
  });
  const { durationMs } = decoded;
  // What is in doubt is decoded once more, and so is the recording: part of matching in time, of decoding in kind.
  let decodedAgain = 0;
  const open =
    (path: string): Reopen =>
    (use) =>
      use(async (fromMs, toMs, rate) => {
        let stretch: Float32Array;
        const read = async () => (stretch = await readStretch(decoder, path, fromMs, toMs, rate));
        decodedAgain += (await cpuOf(read)).cpuSeconds;
        return stretch!;
      });
  await timed('match', () => {
    const windows = embedded.map((window, i) =>
      encodeWindow({ ...window, hits: searched[i]!, undecodable: [] }),
    );
    const heard = { ...joinWindows(windows), durationMs, truncated: false };
    return matchHeard(heard, deps, { upload: open(path), recording: ({ source }) => open(source.key) });
  });
  stages.decode += decodedAgain;
  stages.match -= decodedAgain;
  return { cpuSeconds, wallSeconds, stages };
}

/** One scan in a process that has scanned before, as on a Lambda that is warm. */
async function costOfScan(runtime: Runtime, path: string): Promise<Cpu> {
  const { durationMs } = await runtime.scan(path, { again: true });
  const times = Math.ceil(MEASURED_SECONDS / (durationMs! / 1000));
  const { cpuSeconds, wallSeconds } = await cpuOf(async () => {
    for (let i = 0; i < times; i++) await runtime.scan(path, { again: true });
  });
  return { cpuSeconds: cpuSeconds / times, wallSeconds: wallSeconds / times };
}

async function* stream(blocks: readonly PcmBlock[]): AsyncGenerator<PcmBlock, void> {
  yield* blocks;
}

async function collect(blocks: AsyncIterable<PcmBlock>): Promise<PcmBlock[]> {
  const all: PcmBlock[] = [];
  for await (const block of blocks) all.push(block);
  return all;
}

async function measureRegistration(paths: readonly string[]): Promise<Cpu> {
  const storeDir = await mkdtemp(join(tmpdir(), 'refrain-speed-'));
  try {
    return await cpuOf(async () => {
      await using runtime = await Runtime.open({ storeDir });
      for (const path of paths) await runtime.register({ path });
    });
  } finally {
    await rm(storeDir, { recursive: true, force: true });
  }
}

function onlyDecoded(path: string): Promise<Buffer> {
  return run('ffmpeg', ['-v', 'error', '-nostdin', '-threads', '1', '-i', path, '-f', 'null', '-']);
}

function cpuOfEach(paths: readonly string[], work: (path: string) => Promise<unknown>): Promise<Cpu> {
  return cpuOf(async () => {
    for (const path of paths) await work(path);
  });
}

async function measureLatency() {
  await using engine = await RefrainEngine.open(await bigCatalogue(), () => {});
  const tracks = (await protocolOf('validation')).insiders;
  const queries: string[] = [];
  for (const condition of CONDITIONS.slice(0, 10)) {
    for (const recipe of await drawRecipes(condition, tracks, 5, 'validation')) {
      queries.push((await render(recipe)).find(({ seconds }) => seconds === 10)!.path);
    }
  }
  return await latenciesOf(queries, engine.runtime); // before the engine is closed
}

/** CPU time of this process and of those children that have ended by the end (the decoder's, that is). */
async function cpuOf(work: () => Promise<unknown>): Promise<Cpu> {
  const [own, children, started] = [process.cpuUsage(), childrenSeconds(), performance.now()];
  await work();
  const wallSeconds = (performance.now() - started) / 1000;
  await new Promise((resolve) => setTimeout(resolve, 100)); // lets an ended child be counted
  const { user, system } = process.cpuUsage(own);
  return { cpuSeconds: (user + system) / 1e6 + childrenSeconds() - children, wallSeconds };
}

/** CPU seconds of children that were waited for (Linux; elsewhere 0, and speeds come out too high). */
function childrenSeconds(): number {
  if (!existsSync('/proc/self/stat')) return 0;
  const fields = readFileSync('/proc/self/stat', 'utf8')
    .replace(/^.*\) /, '')
    .split(' ');
  const ticksPerSecond = 100;
  return (Number(fields[13]) + Number(fields[14])) / ticksPerSecond;
}

/** Peak of the summed resident memory of `refrain scan` and all its processes on a fresh store, MB. */
async function peakMemory(path: string, fill: (storeDir: string) => Promise<void>): Promise<number> {
  const storeDir = await mkdtemp(join(tmpdir(), 'refrain-speed-'));
  try {
    await fill(storeDir);
    return await refrain('scan', path, storeDir, '--again');
  } finally {
    await rm(storeDir, { recursive: true, force: true });
  }
}

/** Runs a verb of the command line and resolves to the most memory that it and all below it had at a time, MB. */
function refrain(verb: string, path: string, storeDir: string, ...more: string[]): Promise<number> {
  const cli = join(import.meta.dirname, '../local/cli/bin.js');
  const args = [cli, verb, path, '--store', storeDir, '--jsonl', ...more];
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] });
    let peak = 0;
    const timer = setInterval(async () => {
      peak = Math.max(peak, await treeMegabytes(child.pid!));
    }, 100);
    child.on('error', reject);
    child.on('close', (code) => {
      clearInterval(timer);
      if (code === 0 || code === 3) resolve(peak);
      else reject(new Error(`refrain ${verb} ended with ${code}`));
    });
  });
}

/** Resident memory of a process and all below it. */
async function treeMegabytes(root: number): Promise<number> {
  const parents = new Map<number, number>();
  const sizes = new Map<number, number>();
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const status = readFileSync(`/proc/${name}/status`, 'utf8');
      parents.set(Number(name), Number(/PPid:\s*(\d+)/.exec(status)?.[1]));
      sizes.set(Number(name), Number(/VmRSS:\s*(\d+)/.exec(status)?.[1] ?? 0) / 1024);
    } catch {
      // ended while we looked
    }
  }
  const isBelow = (pid: number | undefined): boolean =>
    pid !== undefined && (pid === root || isBelow(parents.get(pid)));
  return [...sizes].filter(([pid]) => isBelow(pid)).reduce((sum, [, size]) => sum + size, 0);
}

/** Real music end to end, in stereo, through the MP3 encoder: exactly so many hours. */
async function longFile(hours: number, tracks: readonly Track[]): Promise<string> {
  const path = join(BENCH_CACHE, 'speed', `${hours}h-stereo-${hashOf(tracks.map(({ id }) => id))}.mp3`);
  if (existsSync(path)) return path;
  console.error(`making ${(hours * 60).toFixed(0)} min of MP3`);
  await mkdir(dirname(path), { recursive: true });
  const part = path.replace('.mp3', '.part.mp3');
  const pcm = ['-f', 's16le', '-ar', '44100', '-ac', '2'];
  const quiet = ['-v', 'error', '-nostdin', '-y'];
  const mp3 = ['-c:a', 'libmp3lame', '-b:a', '192k', part];
  const encoder = spawn('ffmpeg', [...quiet, ...pcm, '-i', 'pipe:0', ...mp3], {
    stdio: ['pipe', 'inherit', 'inherit'],
  });
  encoder.stdin.setMaxListeners(0); // every track listens to it
  const encoded = new Promise((done, failed) => encoder.on('error', failed).on('close', done));
  let left = hours * 3600;
  for (const { path: from, seconds } of tracks) {
    if (left <= 0) break;
    const part = ['-i', from, '-t', String(left), ...pcm, 'pipe:1'];
    const decoder = spawn('ffmpeg', [...quiet, ...part], { stdio: ['ignore', 'pipe', 'inherit'] });
    await pipeline(decoder.stdout, encoder.stdin, { end: false });
    left -= seconds;
  }
  encoder.stdin.end();
  if ((await encoded) !== 0) throw new Error(`ffmpeg could not make ${path}`);
  await rename(part, path);
  console.error(`${((await stat(path)).size / 1e6).toFixed(0)} MB`);
  return path;
}

/** All music there is but the validation split's, and as much of it played backwards as makes up the hours. */
async function bigCatalogue(): Promise<CatalogueEntry[]> {
  const protocol = await protocolOf('test');
  const uploads = new Set((await tracksOf('validation')).map(({ id }) => id));
  const forwards = [...protocol.insiders, ...protocol.outsiders, ...protocol.distractors].filter(
    ({ id }) => !uploads.has(id),
  );
  const backwards = (await catalogueOf(protocol, true)).filter(({ id }) => id.startsWith('backwards/'));
  let left = CATALOGUE_HOURS * 3600 - forwards.reduce((sum, { seconds }) => sum + seconds, 0);
  const secondsOf = new Map(protocol.distractors.map(({ id, seconds }) => [`backwards/${id}`, seconds]));
  const extra = backwards.filter(({ id }) => {
    if (left <= 0) return false;
    left -= secondsOf.get(id)!;
    return true;
  });
  return [...forwards.map(({ id, path }) => ({ id, path })), ...extra];
}
