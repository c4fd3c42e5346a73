import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { availableParallelism, setPriority } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { readManifest } from '../../functions/embed/model-folder.ts';
import { DEFAULT_MODEL } from '../../local/runtime.ts';
import { ask } from './ask.ts';
import { BENCH_CACHE, encode, gain, guarded, hashOf, RATE, rms } from './audio.ts';
import type { Step } from './conditions.ts';
import { type Finding, type FoundSpan, registered } from './engine.ts';
import { catalogueOf, counter } from './queries.ts';
import { Random } from './random.ts';
import { distorted, inParallel, piecesOf, RENDERER, type Recipe } from './render.ts';
import { likeness, SAME } from './same-audio.ts';
import { cachedViewOf, protocolOf, SplitName, type Track } from './split.ts';

// Uploads made of several pieces of several tracks, joined by cuts, fades and overlaps, each piece distorted: the
// protocol of Pexeso's audio fingerprinting benchmark toolkit (pieces of 4.5-30 s, at least three a query, the same
// distributions of pitch, tempo, filters, echo, reverb and noise), rendered from our own music. Scored on seconds:
// what was found of what is there (recall), and what is there of what was found (precision).

// npm run bench:joined -- [--split validation|test] [--chunks 200] [--workers N] [--model DIR] [--no-backwards] [--out NAME]

const { values: options } = parseArgs({
  options: {
    split: { type: 'string', default: 'test' },
    chunks: { type: 'string', default: '200' },
    workers: { type: 'string', default: String(availableParallelism()) },
    model: { type: 'string', default: DEFAULT_MODEL },
    backwards: { type: 'boolean', default: true },
    out: { type: 'string' },
  },
  allowNegative: true,
});
setPriority(10);

const DIFFICULTIES = ['easy', 'medium', 'hard'] as const;
type Difficulty = (typeof DIFFICULTIES)[number];

/** Spread of pitch and tempo, and the lowest signal-to-noise ratio in steps of 5 dB. */
const SPREAD: Record<Difficulty, { sigma: number; lowestSnr: number }> = {
  easy: { sigma: 0.04, lowestSnr: 2 },
  medium: { sigma: 0.12, lowestSnr: 1 },
  hard: { sigma: 0.25, lowestSnr: 0 },
};

/** The toolkit works in whole seconds; an offset within one second is right. */
const TOLERANCE = 1;
/** Spans are walked through in steps of so many seconds. */
const STEP = 0.1;

interface Chunk {
  recipe: Recipe;
  track: Track;
  /** In the query, seconds. */
  start: number;
  end: number;
  reference: number;
  speed: number;
}

interface JoinedQuery {
  id: string;
  path: string;
  chunks: Chunk[];
  /** How each chunk begins: after the one before it, or together with its end. */
  merges: Merge[];
}

type Merge = 'cut' | 'fade' | 'overlap';

const split = SplitName.exclude(['train']).parse(options.split);
const say = (text: string) => console.error(`${new Date().toISOString().slice(11, 19)} ${text}`);

const workers = Number(options.workers);

const protocol = await protocolOf(split);
const queries = DIFFICULTIES.map((difficulty) => drawQueries(difficulty, Number(options.chunks)));
const counted = counter(say, 'rendered', queries.flat().length);
await inParallel(queries.flat(), workers, async (query) => {
  await render(query);
  counted();
});

const catalogue = await catalogueOf(protocol, options.backwards);
const { storeDir } = await registered(catalogue, counter(say, 'registered', catalogue.length), options.model);
const engine = { name: 'refrain', storeDir, modelDir: options.model } as const;
const answers = await ask(engine, queries.flat(), { workers, say });

const tracks = new Map([...protocol.insiders, ...protocol.distractors].map((track) => [track.id, track]));
const results: Record<string, Score> = {};
for (const [i, difficulty] of DIFFICULTIES.entries()) {
  const tally = {
    expected: 0,
    right: 0,
    wrong: 0,
    unknown: 0,
    pairs: 0,
    pairsFound: 0,
    pairsWrong: 0,
  };
  for (const query of queries[i]!) await scoreQuery(query, answers.get(query.id)!, tally);
  results[difficulty] = scoreOf(tally, queries[i]!.length);
}
await write();

interface Score {
  queries: number;
  precision: number;
  recall: number;
  f: number;
  /** The toolkit's own F, which weighs precision nine times as much as recall. */
  fPrecision: number;
  files: { precision: number; recall: number };
  unknownSeconds: number;
}

/** Draws queries until there are so many chunks. */
function drawQueries(difficulty: Difficulty, chunks: number): JoinedQuery[] {
  const random = new Random('joined', split, difficulty);
  const usable = protocol.insiders.filter((track) => track.seconds >= 30);
  const queries: JoinedQuery[] = [];
  for (let left = chunks; left > 0; ) {
    const count = 3 + Math.floor(-2 * Math.log(1 - random.next()));
    left -= count;
    const tracks = random.shuffled(usable).slice(0, count);
    const drawn = tracks.map((track) => drawChunk(track, difficulty, random));
    const id = `${difficulty}/${String(queries.length).padStart(3, '0')}`;
    queries.push(joined(id, drawn, difficulty, random));
  }
  return queries;
}

function drawChunk(track: Track, difficulty: Difficulty, random: Random): Recipe {
  const longest = Math.min(30, track.seconds - 12) + 0.5;
  const seconds = Math.round(10 * Math.sqrt(random.between(4.5 ** 2, longest ** 2))) / 10;
  const startSeconds = Math.round(10 * random.between(6, track.seconds - seconds - 6)) / 10;
  return {
    renderer: RENDERER,
    split,
    id: track.id,
    condition: `joined-${difficulty}`,
    source: { kind: 'track', track, startSeconds, seconds },
    steps: [...drawModification(difficulty, random), ...drawNoise(difficulty, random)],
    cuts: [],
  };
}

function drawModification(difficulty: Difficulty, random: Random): Step[] {
  const level = DIFFICULTIES.indexOf(difficulty);
  const factor = () => {
    const value = random.normal() * SPREAD[difficulty].sigma;
    return value >= 0 ? 1 + value : 1 / (1 - value);
  };
  const fine = random.either(true, false);
  const choices: (() => Step)[] = [
    () => ({ do: 'ffmpeg', filter: `highpass=f=${100 * (1 + random.below(4))}` }),
    () => ({ do: 'ffmpeg', filter: `lowpass=f=${1000 * (3 + random.below(8))}` }),
    () => ({ do: 'stretch', tempo: 1, pitch: factor(), fine }),
    () => ({ do: 'stretch', tempo: factor(), pitch: 1, fine }),
    () => {
      const both = factor();
      return { do: 'stretch', tempo: both, pitch: both, fine };
    },
  ];
  if (level >= 1) {
    choices.push(() => {
      const decay = random.between(0.3, 0.6);
      const delay = 10 * (1 + random.below(50));
      return {
        do: 'ffmpeg',
        filter: `aecho=0.8:${(1 / (0.8 + decay)).toFixed(2)}:${delay}:${decay.toFixed(1)}`,
      };
    });
  }
  if (level >= 2)
    choices.push(() => ({ do: 'reverb', rt60Seconds: random.between(0.6, 1.4), seed: random.below(1e9) }));
  // Of fifteen equally likely choices, the rest leaves the chunk as it is.
  const choice = random.below(15);
  return choice < choices.length ? [choices[choice]!()] : [];
}

function drawNoise(difficulty: Difficulty, random: Random): Step[] {
  if (random.next() < 0.5) return [];
  const { lowestSnr } = SPREAD[difficulty];
  const snrDb = 5 * (lowestSnr + random.below(4 - lowestSnr));
  const kind = random.pick(['white', 'pink', 'brown', 'babble', 'babble'] as const);
  return [{ do: 'noise', kind, snrDb, seed: random.below(1e9) }];
}

/** Joins chunks by cuts (all difficulties), cross-fades and overlaps (medium and hard) of 2-5 s. */
function joined(id: string, recipes: Recipe[], difficulty: Difficulty, random: Random): JoinedQuery {
  const merges = recipes.map(() => ({
    kind: difficulty === 'easy' ? ('cut' as const) : random.pick<Merge>(['cut', 'fade', 'overlap']),
    seconds: random.between(2, 5),
  }));
  const lengths = recipes.map((recipe) => piecesOf(recipe)[0]!.end);
  const chunks: Chunk[] = [];
  let end = 0;
  for (const [i, recipe] of recipes.entries()) {
    const merge = merges[i]!;
    const most = Math.min(lengths[i]!, lengths[i - 1] ?? 0) / 2;
    const shared = i === 0 || merge.kind === 'cut' ? 0 : Math.min(merge.seconds, most);
    if (recipe.source.kind !== 'track') throw new Error('chunks come from tracks');
    const { track, startSeconds } = recipe.source;
    const start = end - shared;
    end = start + lengths[i]!;
    chunks.push({ recipe, track, start, end, reference: startSeconds, speed: piecesOf(recipe)[0]!.speed });
  }
  const path = join(BENCH_CACHE, 'joined', split, `${hashOf([recipes, merges])}.mp3`);
  return { id, path, chunks, merges: merges.map(({ kind }) => kind) };
}

async function render({ path, chunks, merges }: JoinedQuery): Promise<void> {
  if (existsSync(path)) return;
  const out = new Float32Array(Math.ceil(chunks.at(-1)!.end * RATE));
  for (const [i, { recipe, start, end }] of chunks.entries()) {
    const pcm = await distorted(recipe);
    const level = gain(-20) / (rms(pcm) || 1);
    const fadeIn = merges[i] === 'fade' && i > 0 ? chunks[i - 1]!.end - start : 0;
    const fadeOut = merges[i + 1] === 'fade' ? end - chunks[i + 1]!.start : 0;
    const offset = Math.round(start * RATE);
    for (let s = 0; s < pcm.length && offset + s < out.length; s++) {
      const t = s / RATE;
      const fade = Math.min(
        1,
        fadeIn > 0 ? t / fadeIn : 1,
        fadeOut > 0 ? Math.max(0, end - start - t) / fadeOut : 1,
      );
      out[offset + s]! += pcm[s]! * level * fade;
    }
  }
  await encode(guarded(out), path, ['-c:a', 'libmp3lame', '-b:a', '128k']);
}

type Tally = Record<
  'expected' | 'right' | 'wrong' | 'unknown' | 'pairs' | 'pairsFound' | 'pairsWrong',
  number
>;

async function scoreQuery(query: JoinedQuery, findings: readonly Finding[], tally: Tally): Promise<void> {
  tally.expected += query.chunks.reduce((sum, { start, end }) => sum + end - start, 0);
  tally.pairs += query.chunks.length;
  for (const finding of findings) {
    const chunk = query.chunks.find(({ track }) => track.id === finding.referenceId);
    if (chunk) tally.pairsFound++;
    else tally.pairsWrong++;
    const counted = new Set<number>();
    for (const span of finding.spans) {
      const isRefrain = chunk
        ? await standsElsewhere(chunk, span)
        : await isSameAudio(query, finding.referenceId, span);
      for (let t = span.uploadStartMs / 1000 + STEP / 2; t < span.uploadEndMs / 1000; t += STEP) {
        const inside = chunk && t >= chunk.start && t < chunk.end;
        const right =
          inside &&
          Math.abs(referenceAt(span, t) - (chunk.reference + (t - chunk.start) * chunk.speed)) <= TOLERANCE;
        const slot = Math.floor(t / STEP);
        if (right && !counted.has(slot)) tally.right += STEP;
        else if (isRefrain) tally.unknown += STEP;
        else if (!right) tally.wrong += STEP;
        if (right) counted.add(slot);
      }
    }
  }
}

function referenceAt(span: FoundSpan, t: number): number {
  const speed =
    (span.referenceEndMs - span.referenceStartMs) / Math.max(1, span.uploadEndMs - span.uploadStartMs);
  return (span.referenceStartMs + (t * 1000 - span.uploadStartMs) * speed) / 1000;
}

/** A loop or refrain: the reference holds the same audio where the span says, though it was cut from elsewhere. */
async function standsElsewhere(chunk: Chunk, span: FoundSpan): Promise<boolean> {
  const from = Math.max(chunk.start, span.uploadStartMs / 1000);
  const to = Math.min(chunk.end, span.uploadEndMs / 1000);
  const claimed = referenceAt(span, from);
  const hidden = chunk.reference + (from - chunk.start) * chunk.speed;
  if (to - from < 1 || Math.abs(claimed - hidden) <= TOLERANCE) return false;
  const view = await cachedViewOf(chunk.track);
  return likeness(view, hidden, view, claimed, Math.max(5, (to - from) * chunk.speed)) >= SAME;
}

/** Another track of the catalogue that holds the audio of a chunk. */
async function isSameAudio(query: JoinedQuery, referenceId: string, span: FoundSpan): Promise<boolean> {
  const track = tracks.get(referenceId);
  if (!track) return false;
  const view = await cachedViewOf(track);
  for (const chunk of query.chunks) {
    const from = Math.max(chunk.start, span.uploadStartMs / 1000);
    const to = Math.min(chunk.end, span.uploadEndMs / 1000);
    if (to - from < 1) continue;
    const hidden = chunk.reference + (from - chunk.start) * chunk.speed;
    const seconds = Math.max(5, (to - from) * chunk.speed);
    if (likeness(await cachedViewOf(chunk.track), hidden, view, referenceAt(span, from), seconds) >= SAME)
      return true;
  }
  return false;
}

function scoreOf(tally: Tally, queries: number): Score {
  const precision = tally.right / Math.max(1e-9, tally.right + tally.wrong);
  const recall = tally.right / tally.expected;
  const weighted = (beta: number) =>
    ((1 + beta ** 2) * precision * recall) / Math.max(1e-9, beta ** 2 * precision + recall);
  return {
    queries,
    precision,
    recall,
    f: weighted(1),
    fPrecision: weighted(1 / 3),
    files: {
      precision: tally.pairsFound / Math.max(1, tally.pairsFound + tally.pairsWrong),
      recall: tally.pairsFound / tally.pairs,
    },
    unknownSeconds: tally.unknown,
  };
}

async function write(): Promise<void> {
  const folder = join(import.meta.dirname, '../results');
  const name = options.out ?? (split === 'test' ? 'joined' : 'validation-joined');
  const model = await readManifest(options.model);
  await mkdir(folder, { recursive: true });
  const report = {
    date: new Date().toISOString(),
    split,
    chunks: Number(options.chunks),
    model: { id: model.id, sha256: model.sha256 },
    results,
  };
  await writeFile(
    join(folder, `${name}.json`),
    `${JSON.stringify(report, (_, x) => (typeof x === 'number' ? Number(x.toFixed(4)) : x), 1)}\n`,
  );
  const rows = Object.entries(results).map(
    ([difficulty, { precision, recall, f, fPrecision, files, queries }]) =>
      `| ${difficulty} | ${queries} | ${[precision, recall, f, fPrecision, files.precision, files.recall].map((x) => x.toFixed(3)).join(' | ')} |`,
  );
  console.log(`Joined, faded and overlapping chunks (${split} split, ${options.chunks} chunks each, model ${model.id} ${model.sha256.slice(0, 12)})

| | queries | precision | recall | F | F (precision first) | file precision | file recall |
|---|---|---|---|---|---|---|---|
${rows.join('\n')}`);
}
