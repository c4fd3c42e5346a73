import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BENCH_CACHE, bytesOf, cachedFile, hashOf, run } from './audio.ts';
import type { CatalogueEntry, Engine, Finding } from './engine.ts';
import { inParallel } from './render.ts';

// Chromaprint as a peer: its own raw fingerprints (fpcalc), and the most thorough matcher one can build on them.
// Every place of every reference is compared, so nothing that is in the fingerprints can be missed.

/** Grows whenever the same query would be answered differently. */
export const MATCHER = 2;

/** Seconds per fingerprint item: 4096 samples at 11,025 Hz, a third of which is new. */
const ITEM_SECONDS = 1365 / 11_025;
/** Items looked at before a place is compared in full, and the bit errors above which it is not. */
const SKETCH_STEP = 4;
const SKETCH_ERRORS = 0.44;
/** Silence, hum and beeps are one item over and over, and equal each other: what changes less often is not looked for. */
const LEAST_ITEMS = 4;

interface Reference {
  id: string;
  items: Uint32Array;
}

export class ChromaprintEngine implements Engine {
  readonly #references: readonly Reference[];

  private constructor(references: readonly Reference[]) {
    this.#references = references;
  }

  static async open(entries: readonly CatalogueEntry[]): Promise<ChromaprintEngine> {
    const references: Reference[] = [];
    for (const { id, path } of entries) references.push({ id, items: await fingerprintOf(path) });
    return new ChromaprintEngine(references);
  }

  async scan(path: string): Promise<Finding[]> {
    return bestPlaceOf(await fingerprintOf(path), this.#references);
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

/** The best place of all; `confidence` is 1 - 2 * bit errors, 0 for chance. */
export function bestPlaceOf(query: Uint32Array, references: readonly Reference[]): Finding[] {
  if (new Set(query).size < LEAST_ITEMS) return [];
  let best: { id: string; at: number; errors: number } = { id: '', at: 0, errors: 1 };
  for (const { id, items } of references) {
    for (let at = 0; at + query.length <= items.length; at++) {
      if (errorsAt(query, items, at, SKETCH_STEP) > SKETCH_ERRORS) continue;
      const errors = errorsAt(query, items, at, 1);
      if (errors < best.errors) best = { id, at, errors };
    }
  }
  if (!best.id) return [];
  const [confidence, lengthMs] = [Math.max(0, 1 - 2 * best.errors), query.length * ITEM_SECONDS * 1000];
  const start = best.at * ITEM_SECONDS * 1000;
  const span = {
    uploadStartMs: 0,
    uploadEndMs: lengthMs,
    referenceStartMs: start,
    referenceEndMs: start + lengthMs,
    confidence,
  };
  return [{ referenceId: best.id, confidence, spans: [span] }];
}

/** Share of bits that differ, looking at every `step`-th item. */
function errorsAt(query: Uint32Array, items: Uint32Array, at: number, step: number): number {
  let [errors, compared] = [0, 0];
  for (let i = 0; i < query.length; i += step) {
    let x = query[i]! ^ items[at + i]!;
    x -= (x >>> 1) & 0x55555555;
    x = (x & 0x33333333) + ((x >>> 2) & 0x33333333);
    errors += Math.imul((x + (x >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
    compared++;
  }
  return errors / (compared * 32);
}

/** Fingerprints what is not in the cache yet, with so many processes at a time. */
export async function fingerprintAll(
  entries: readonly CatalogueEntry[],
  jobs: number,
  onProgress: () => void,
): Promise<void> {
  await inParallel(entries, jobs, async ({ path }) => {
    await fingerprintOf(path);
    onProgress();
  });
}

/** Raw fingerprint of a file, made once; empty for what is too short to have one. */
async function fingerprintOf(path: string): Promise<Uint32Array> {
  const file = join(BENCH_CACHE, 'chromaprint', `${hashOf(path)}.u32`);
  await cachedFile(file, async () => bytesOf(await fpcalc(path)));
  return new Uint32Array(new Uint8Array(await readFile(file)).buffer);
}

/** The raw fingerprint of a whole file. */
export async function fpcalc(path: string): Promise<Uint32Array> {
  // With FFmpeg 5, fpcalc 1.5.1 takes the end of every file for an error; the fingerprint is whole all the same.
  const args = ['-raw', '-plain', '-ignore-errors', '-length', '0', path];
  const text = await run('fpcalc', args).catch((error: Error) => {
    if (error.message.includes('Empty fingerprint')) return Buffer.from('');
    throw error;
  });
  return Uint32Array.from(text.toString().trim().split(',').filter(Boolean), Number);
}
