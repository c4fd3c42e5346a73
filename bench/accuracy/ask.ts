import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, existsSync, globSync } from 'node:fs';
import { mkdir, readFile, truncate } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { finished } from 'node:stream/promises';
import { BENCH_CACHE, hashOf, run } from './audio.ts';
import { MATCHER } from './chromaprint.ts';
import type { CatalogueEntry, Finding } from './engine.ts';
import { counter } from './queries.ts';

/** An engine that knows a catalogue, as data: each worker opens its own. */
export type EngineSpec =
  | { name: 'refrain'; storeDir: string; modelDir: string }
  | { name: 'chromaprint'; catalogue: readonly CatalogueEntry[] };

interface AskOptions {
  workers: number;
  say: (text: string) => void;
  /** Where answers are kept. */
  folder?: string;
}

/**
 * Puts queries to an engine, with so many processes, and resolves to what each found, in the order of the queries.
 * Answers are kept on disk as they come, so that a run that was broken off goes on where it was; they are good for the
 * same files only as long as nothing has changed that could answer differently.
 * @throws Error with the reason when a worker ends: of a crash, or of a file that cannot be scanned
 */
export async function ask(
  engine: EngineSpec,
  queries: readonly { id: string; path: string }[],
  { workers, say, folder = join(BENCH_CACHE, 'answers') }: AskOptions,
): Promise<Map<string, Finding[]>> {
  const file = join(folder, `${engine.name}-${await versionOf(engine)}.jsonl`);
  await mkdir(folder, { recursive: true });
  const answers = await keptIn(file);
  const paths = [...new Set(queries.map(({ path }) => path))];
  const missing = paths.filter((path) => !answers.has(path));
  if (missing.length < paths.length) {
    say(`${engine.name}: ${paths.length - missing.length} of ${paths.length} answers are there already`);
  }

  const counted = counter(say, `${engine.name} answered`, missing.length);
  await inWorkers(engine, missing, workers, (path, findings) => {
    appendFileSync(file, `${JSON.stringify({ path, findings })}\n`);
    answers.set(path, findings);
    counted();
  });
  return new Map(queries.map(({ id, path }) => [id, answers.get(path)!]));
}

/** Answers by path. What a run that was killed wrote of its last line is taken off. */
async function keptIn(file: string): Promise<Map<string, Finding[]>> {
  if (!existsSync(file)) return new Map();
  const bytes = await readFile(file);
  const whole = bytes.subarray(0, bytes.lastIndexOf('\n') + 1);
  await truncate(file, whole.length);
  const lines = whole.toString().split('\n').slice(0, -1);
  return new Map(lines.map((line) => JSON.parse(line)).map(({ path, findings }) => [path, findings]));
}

/** What a scan runs through, from the repository's root. */
const SCANNING = [
  'functions/**/*.ts',
  'local/{adapters,store}/**/*.ts',
  'local/*.ts',
  'bench/accuracy/engine.ts',
  'package-lock.json',
];

/** A name for all that an answer depends on, besides the file that is asked about. */
async function versionOf(engine: EngineSpec): Promise<string> {
  if (engine.name === 'chromaprint') {
    return hashOf([engine.catalogue, MATCHER, (await run('fpcalc', ['-version'])).toString()]);
  }
  const root = join(import.meta.dirname, '../..');
  const code = globSync(SCANNING, { cwd: root }).sort();
  // The store's name tells the graph and the catalogue.
  return hashOf([
    basename(engine.storeDir),
    await readFile(join(engine.modelDir, 'model.json'), 'utf8'),
    await Promise.all(code.map((path) => readFile(join(root, path), 'utf8'))),
  ]);
}

/** Whoever is free takes the next path. */
async function inWorkers(
  engine: EngineSpec,
  paths: readonly string[],
  workers: number,
  onAnswer: (path: string, findings: Finding[]) => void,
): Promise<void> {
  const left = paths.values();
  const crew = Array.from({ length: Math.min(workers, paths.length) }, () => new Worker(engine));
  try {
    await Promise.all(
      crew.map(async (worker) => {
        for (const path of left) onAnswer(path, await worker.ask(path));
      }),
    );
  } finally {
    await Promise.all(crew.map((worker) => worker.end()));
  }
}

class Worker {
  readonly #engine: EngineSpec;
  readonly #child: ChildProcess;
  /** How it ended, in words. */
  readonly #end: Promise<string>;
  #lastWords = '';

  constructor(engine: EngineSpec) {
    this.#engine = engine;
    this.#child = fork(join(import.meta.dirname, 'worker.ts'), {
      stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
    });
    this.#child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.#lastWords = (this.#lastWords + text).slice(-2000);
    });
    this.#end = Promise.all([once(this.#child, 'exit'), finished(this.#child.stderr!)]).then(
      ([[code, signal]]) => signal ?? `exit code ${code}`,
      (error: Error) => error.message,
    );
    this.#send(engine);
  }

  async ask(path: string): Promise<Finding[]> {
    const ended = this.#end.then((how) => {
      throw new Error(`A worker of ${this.#engine.name} ended (${how}) at ${path}:\n${this.#lastWords}`);
    });
    const answer = once(this.#child, 'message').then(([findings]) => findings);
    this.#send(path);
    return Promise.race([answer, ended]);
  }

  async end(): Promise<void> {
    if (this.#child.connected) this.#child.disconnect();
    await this.#end;
  }

  #send(message: EngineSpec | string): void {
    // Whether it was sent does not matter: how the worker ended says more.
    this.#child.send(message, () => {});
  }
}
