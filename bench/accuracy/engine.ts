import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DEFAULT_MODEL, Runtime } from '../../local/runtime.ts';
import { BENCH_CACHE, hashOf } from './audio.ts';

/** What an engine says of one query: which reference, how sure, and which stretch is which (milliseconds). */
export interface Finding {
  referenceId: string;
  confidence: number;
  spans: FoundSpan[];
}

export interface FoundSpan {
  uploadStartMs: number;
  uploadEndMs: number;
  referenceStartMs: number;
  referenceEndMs: number;
  confidence: number;
}

export interface CatalogueEntry {
  id: string;
  path: string;
}

export interface CatalogueFacts {
  references: number;
  hours: number;
  /** Everything that is on disk for it, once it is closed. */
  bytes: number;
  /** CPU seconds of this process and its children while registering. */
  cpuSeconds: number;
  /** Ids that were refused, with the reason. */
  refused: Record<string, string>;
}

/** Anything that knows a catalogue and can be asked about uploads. */
export interface Engine extends AsyncDisposable {
  /** Best finding first; none is an answer. */
  scan(path: string): Promise<Finding[]>;
}

/** Refrain as a user has it: the local runtime, with its ordinary register and scan. */
export class RefrainEngine implements Engine {
  readonly runtime: Runtime;

  constructor(runtime: Runtime) {
    this.runtime = runtime;
  }

  /** Opens the store of a catalogue, which `registered` makes first where it is not there. */
  static async open(
    entries: readonly CatalogueEntry[],
    onProgress: (done: number) => void,
    modelDir = DEFAULT_MODEL,
  ): Promise<RefrainEngine> {
    const { storeDir } = await registered(entries, onProgress, modelDir);
    return new RefrainEngine(await Runtime.open({ storeDir, modelDir }));
  }

  async scan(path: string): Promise<Finding[]> {
    // Again, because a new calibration or matching stage must not be answered with the scan of the old one.
    const { detections } = await this.runtime.scan(path, { again: true });
    return detections.map(({ referenceId, confidence, spans }) => ({ referenceId, confidence, spans }));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.runtime.close();
  }
}

/** Registers what is not registered yet. The store is kept per model and catalogue for the next run. */
export async function registered(
  entries: readonly CatalogueEntry[],
  onProgress: (done: number) => void,
  modelDir = DEFAULT_MODEL,
): Promise<{ storeDir: string; facts: CatalogueFacts }> {
  const graph = createHash('sha256')
    .update(await readFile(join(modelDir, 'model.onnx')))
    .digest('hex');
  const storeDir = join(BENCH_CACHE, 'stores', hashOf([graph, entries.map((entry) => entry.id)]));
  const factsFile = join(storeDir, 'bench-facts.json');
  if (!existsSync(factsFile)) {
    const facts = await registerAll(entries, storeDir, modelDir, onProgress);
    await writeFile(factsFile, JSON.stringify({ ...facts, bytes: await bytesIn(storeDir) }));
  }
  return { storeDir, facts: JSON.parse(await readFile(factsFile, 'utf8')) };
}

async function registerAll(
  entries: readonly CatalogueEntry[],
  storeDir: string,
  modelDir: string,
  onProgress: (done: number) => void,
): Promise<Omit<CatalogueFacts, 'bytes'>> {
  await using runtime = await Runtime.open({ storeDir, modelDir });
  const before = process.cpuUsage();
  const refused: Record<string, string> = {};
  let [ms, references] = [0, 0];
  for (const [done, { id, path }] of entries.entries()) {
    const { reference } = await runtime.register({ path, referenceId: id, metadata: { title: id } });
    if (reference.state === 'refused') {
      refused[id] = reference.reasons.map(({ code }) => code).join(' ');
    } else {
      ms += reference.durationMs;
      references++;
    }
    onProgress(done + 1);
  }
  const { user, system } = process.cpuUsage(before);
  return { references, refused, hours: ms / 3_600_000, cpuSeconds: (user + system) / 1e6 };
}

async function bytesIn(folder: string): Promise<number> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  const sizes = await Promise.all(files.map((file) => stat(join(file.parentPath, file.name))));
  return sizes.reduce((sum, { size }) => sum + size, 0);
}
