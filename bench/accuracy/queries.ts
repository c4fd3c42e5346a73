import { join } from 'node:path';
import { BENCH_CACHE, cachedFile, encode, hashOf } from './audio.ts';
import { CONDITIONS, conditionOf } from './conditions.ts';
import type { CatalogueEntry } from './engine.ts';
import { Random } from './random.ts';
import {
  drawNegatives,
  drawRecipes,
  inParallel,
  type Query,
  type Recipe,
  render,
  renderWhole,
} from './render.ts';
import { type Protocol, pcmOf, type Track } from './split.ts';
import { voicesFor } from './voices.ts';

/** What an accuracy run asks, and of which catalogue. */
export interface Questions {
  catalogue: CatalogueEntry[];
  /** Excerpts of tracks that are in the catalogue, by condition and length. */
  positives: Query[];
  /** Excerpts of 5, 10 and 30 s of what is not. */
  negatives: Query[];
  /** Whole tracks, streams of speech and noise that are not in the catalogue. */
  long: Query[];
}

export interface Size {
  perCell: number;
  negatives: number;
  /** Leave out the long negatives (0) or take their hours up to this many. */
  longHours: number;
  /** Add the training music played backwards, so that the right track stands among twice as many. */
  backwards: boolean;
  conditions?: readonly string[];
}

/** Draws and renders everything; what an earlier run rendered is found in the cache. */
export async function prepare(
  protocol: Protocol,
  size: Size,
  say: (text: string) => void,
): Promise<Questions> {
  const { split, insiders, outsiders } = protocol;
  const wanted = CONDITIONS.filter(({ id }) => !size.conditions || size.conditions.includes(id));
  const byCondition: Recipe[][] = [];
  for (const condition of wanted)
    byCondition.push(await drawRecipes(condition, insiders, size.perCell, split));
  // A run that is broken off has rendered a part of every cell, and a smaller run finds all of its queries.
  const positives = Array.from({ length: size.perCell }, (_, i) =>
    byCondition.map((recipes) => recipes[i]!),
  ).flat();
  const negatives = await drawNegatives(outsiders, size.negatives, split);

  const counted = counter(say, 'rendered', positives.length + negatives.length);
  const rendered = async (recipe: Recipe) => {
    const queries = await render(recipe);
    counted();
    return queries;
  };
  return {
    catalogue: await catalogueOf(protocol, size.backwards),
    positives: (await inParallel(positives, 2, rendered)).flat(),
    negatives: (await inParallel(negatives, 2, rendered)).flat(),
    long: await longNegatives(protocol, size.longHours, say),
  };
}

/** Everything that is registered: the tracks to be found and the distractors, these also backwards if wanted. */
export async function catalogueOf(
  { insiders, distractors }: Protocol,
  alsoBackwards: boolean,
): Promise<CatalogueEntry[]> {
  const forwards = [...insiders, ...distractors].map(({ id, path }) => ({ id, path }));
  return alsoBackwards ? [...forwards, ...(await inParallel(distractors, 2, backwards))] : forwards;
}

/**
 * Whole outsiders as they are, speech and noise for ten minutes a voice, and then the outsiders again with something
 * done to each, until the hours are full.
 */
async function longNegatives(
  { split, outsiders }: Protocol,
  hours: number,
  say: (text: string) => void,
): Promise<Query[]> {
  const random = new Random(split, 'long negatives');
  const queries: Query[] = [];
  let left = hours * 3600;
  const add = (query: Query) => {
    queries.push(query);
    left -= query.seconds;
  };
  for (const track of outsiders) {
    if (left > 0)
      add({
        id: `long/${track.id}`,
        condition: 'whole',
        seconds: track.seconds,
        path: track.path,
        track,
        pieces: [],
      });
  }
  for (const voice of voicesFor(split)) {
    if (left > 0)
      add(
        await renderWhole(
          `long/speech-${voice.name}`,
          { kind: 'speech', voice, startSeconds: 0, seconds: 590 },
          [],
          split,
        ),
      );
  }
  for (const noise of ['white', 'pink', 'brown', 'babble', 'hum', 'crackle'] as const) {
    if (left > 0)
      add(
        await renderWhole(
          `long/noise-${noise}`,
          { kind: 'noise', noise, seed: 1, seconds: 300, levelDb: -20 },
          [],
          split,
        ),
      );
  }
  const distortions = CONDITIONS.filter(({ id }) => id !== 'clean');
  for (let round = 0; left > 0 && outsiders.length > 0; round++) {
    const counted = counter(say, 'distorted', outsiders.length);
    for (const track of random.shuffled(outsiders)) {
      if (left <= 0) break;
      const condition = random.pick(distortions);
      const source = { kind: 'track' as const, track, startSeconds: 0, seconds: Math.floor(track.seconds) };
      add(
        await renderWhole(
          `long/${condition.id}-${round}/${track.id}`,
          source,
          conditionOf(condition.id).steps(random, split),
          split,
        ),
      );
      counted();
    }
  }
  return queries;
}

/** The same music backwards: sounds like music, and is none of the queries. */
async function backwards(track: Track): Promise<CatalogueEntry> {
  const path = join(BENCH_CACHE, 'backwards', `${hashOf(track.path)}.flac`);
  await cachedFile(`${path}.done`, async () => {
    await encode((await pcmOf(track)).reverse(), path, ['-ar', '16000', '-sample_fmt', 's16']);
    return Buffer.from('');
  });
  return { id: `backwards/${track.id}`, path };
}

/** Says now and then how far the work is. */
export function counter(say: (text: string) => void, what: string, total: number): () => void {
  let [done, said] = [0, Date.now()];
  return () => {
    done++;
    if (Date.now() - said < 20_000 && done < total) return;
    said = Date.now();
    say(`${what} ${done} of ${total}`);
  };
}
