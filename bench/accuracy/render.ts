import { existsSync } from 'node:fs';
import { join } from 'node:path';
import {
  BENCH_CACHE,
  convolved,
  encodeCuts,
  filtered,
  fitted,
  gain,
  guarded,
  hashOf,
  RATE,
  rms,
  soxed,
  stretched,
  throughCodec,
} from './audio.ts';
import { CONDITIONS, type Condition, conditionOf, type Step } from './conditions.ts';
import { Random } from './random.ts';
import { roomResponse } from './rooms.ts';
import { excerptOf, LEVEL_RATE, levelsOf, type Track } from './split.ts';
import { type NoiseKind, noiseOf, speechOf, type Voice, voicesFor } from './voices.ts';

// Queries: excerpts of music that something was done to, and what they truly hold.
//
// One rendering of 30 s serves three queries: the 10 s one is cut from its inside, and the 5 s one from the inside of
// that. Everything is drawn first as a recipe (plain data) and rendered from it, so that a recipe's hash names the
// files, and a second run finds them.

/** Part of every recipe. Grows whenever the same recipe would sound different. */
export const RENDERER = 1;

export const LENGTHS = [5, 10, 30] as const;
/** Music before the query, so that a room already rings when it begins. */
const LEAD_SECONDS = 1;
/** What a stretched or cut excerpt may come out short. */
const SPARE_SECONDS = 1;

/** Where the query shows the reference: in `[start, end)` seconds of the query, reference time is `reference + speed * (t - start)`. */
export interface Piece {
  start: number;
  end: number;
  reference: number;
  speed: number;
}

export interface Cut {
  seconds: number;
  /** Where it begins in the rendering, seconds. */
  at: number;
}

export interface Recipe {
  renderer: number;
  split: 'validation' | 'test';
  /** `<condition>/<number>`. */
  id: string;
  condition: string;
  source:
    | { kind: 'track'; track: Track; startSeconds: number; seconds: number }
    | { kind: 'speech'; voice: Voice; startSeconds: number; seconds: number }
    | { kind: 'noise'; noise: NoiseKind; seed: number; seconds: number; levelDb: number }
    | { kind: 'tones'; seed: number; seconds: number }
    | { kind: 'silence'; seconds: number };
  steps: Step[];
  cuts: Cut[];
}

/** One audio file with what it holds. `pieces` is empty for negatives. */
export interface Query {
  id: string;
  condition: string;
  seconds: number;
  path: string;
  /** The track it was cut from, whether that is in the catalogue or not; absent for speech and noise. */
  track?: Track;
  pieces: Piece[];
}

/**
 * Draws `count` recipes of one condition from the tracks, each track in turn, never from silence.
 * @param purpose part of the seed: other purposes draw other excerpts
 */
export async function drawRecipes(
  condition: Condition,
  tracks: readonly Track[],
  count: number,
  split: 'validation' | 'test',
  purpose = 'positive',
): Promise<Recipe[]> {
  const random = new Random(split, condition.id, purpose);
  const recipes: Recipe[] = [];
  let order: Track[] = [];
  for (let number = 0; number < count; number++) {
    const steps = condition.steps(random, split);
    const seconds = sourceSeconds(steps);
    const longEnough = tracks.filter((track) => track.seconds >= seconds + 1);
    if (order.length === 0) order = random.shuffled(longEnough);
    const track = order.pop()!;
    const { startSeconds, cuts } = drawExcerpt(await levelsOf(track), seconds, random);
    recipes.push({
      renderer: RENDERER,
      split,
      id: `${condition.id}/${String(number).padStart(3, '0')}`,
      condition: condition.id,
      source: { kind: 'track', track, startSeconds, seconds },
      steps,
      cuts,
    });
  }
  return recipes;
}

/** How much of the source 30 s of query (with lead and spare) need. */
function sourceSeconds(steps: readonly Step[]): number {
  let seconds = Math.max(...LENGTHS) + LEAD_SECONDS + SPARE_SECONDS;
  for (const step of steps) {
    if (step.do === 'stretch') seconds *= step.tempo;
    if (step.do === 'speed') seconds *= step.factor;
    if (step.do === 'jumpCuts') seconds *= 1.9;
  }
  return Math.ceil(seconds);
}

/** Amplitude below which a tenth of a second counts as silence. */
const SILENT = gain(-50);

/**
 * A start and cuts such that none of the cuts is silent anywhere for a second, and that all are about as loud as the
 * whole: noise is mixed in at one level, and a cell's decibels should be true of every length.
 */
function drawExcerpt(levels: Float32Array, seconds: number, random: Random) {
  const scale = (seconds - SPARE_SECONDS) / (Math.max(...LENGTHS) + LEAD_SECONDS);
  let best: { startSeconds: number; cuts: Cut[]; badness: number } | undefined;
  for (let attempt = 0; attempt < 60 && (!best || best.badness > 3); attempt++) {
    const room = levels.length / LEVEL_RATE - seconds;
    const startSeconds = Math.floor(random.between(0, room) * 100) / 100;
    const cuts = drawCuts(random);
    const inSource = (cut: Cut) => {
      const from = Math.floor((startSeconds + cut.at * scale) * LEVEL_RATE);
      return levels.subarray(from, Math.ceil(from + cut.seconds * scale * LEVEL_RATE));
    };
    const parts = cuts.map(inSource);
    const whole = 20 * Math.log10(rms(parts.at(-1)!) + 1e-9);
    const uneven = parts.map((part) => Math.abs(20 * Math.log10(rms(part) + 1e-9) - whole));
    const badness = Math.max(...uneven) + 20 * Math.max(...parts.map(silentSeconds));
    if (!best || badness < best.badness) best = { startSeconds, cuts, badness };
  }
  return best!;
}

/** The longest silent run, in seconds, where it exceeds a second; else 0. */
function silentSeconds(levels: Float32Array): number {
  let [longest, runLength] = [0, 0];
  for (const level of levels) {
    runLength = level < SILENT ? runLength + 1 : 0;
    longest = Math.max(longest, runLength);
  }
  return longest > LEVEL_RATE ? longest / LEVEL_RATE : 0;
}

function drawCuts(random: Random): Cut[] {
  const cuts: Cut[] = [{ seconds: 30, at: LEAD_SECONDS }];
  for (const seconds of [10, 5]) {
    const outer = cuts[0]!;
    cuts.unshift({
      seconds,
      at: Math.round(random.between(outer.at, outer.at + outer.seconds - seconds) * 1000) / 1000,
    });
  }
  return cuts;
}

/** What a recipe's rendering holds of its track, in the rendering's own time. */
export function piecesOf(recipe: Recipe): Piece[] {
  const { source } = recipe;
  if (source.kind !== 'track') return [];
  let pieces: Piece[] = [{ start: 0, end: source.seconds, reference: source.startSeconds, speed: 1 }];
  for (const step of recipe.steps) {
    if (step.do === 'stretch') pieces = pieces.map((piece) => faster(piece, step.tempo));
    if (step.do === 'speed') pieces = pieces.map((piece) => faster(piece, step.factor));
    if (step.do === 'jumpCuts') pieces = jumpCuts(pieces[0]!, step.seed);
  }
  return pieces;
}

const faster = (piece: Piece, factor: number): Piece => ({
  start: piece.start / factor,
  end: piece.end / factor,
  reference: piece.reference,
  speed: piece.speed * factor,
});

function jumpCuts(whole: Piece, seed: number): Piece[] {
  const random = new Random('jump cuts', seed);
  const pieces: Piece[] = [];
  let [source, query] = [0, 0];
  while (source < whole.end - 3) {
    const length = random.between(1.5, 3);
    pieces.push({
      start: query,
      end: query + length,
      reference: whole.reference + source * whole.speed,
      speed: whole.speed,
    });
    query += length;
    source += length + random.between(0.5, 1.5);
  }
  return pieces;
}

/** The pieces inside a cut, in the cut's time. */
export function piecesIn(pieces: readonly Piece[], cut: Cut): Piece[] {
  return pieces.flatMap((piece) => {
    const start = Math.max(piece.start, cut.at);
    const end = Math.min(piece.end, cut.at + cut.seconds);
    if (end <= start) return [];
    const reference = piece.reference + (start - piece.start) * piece.speed;
    return [{ start: start - cut.at, end: end - cut.at, reference, speed: piece.speed }];
  });
}

/** Renders a recipe unless it is there already; resolves to its queries, shortest first. */
export async function render(recipe: Recipe): Promise<Query[]> {
  const pieces = piecesOf(recipe);
  const folder = join(BENCH_CACHE, 'queries', recipe.split, recipe.condition);
  const track = recipe.source.kind === 'track' ? recipe.source.track : undefined;
  const queries = recipe.cuts.map((cut) => ({
    id: `${recipe.id}/${cut.seconds}s`,
    condition: recipe.condition,
    seconds: cut.seconds,
    path: join(folder, `${hashOf(recipe)}-${cut.seconds}s.flac`),
    ...(track && { track }),
    pieces: piecesIn(pieces, cut),
  }));
  if (queries.every((query) => existsSync(query.path))) return queries;
  const pcm = guarded(await distorted(recipe));
  // 16 kHz mono is what fingerprints listen to; FLAC adds no loss of its own.
  const flac = ['-ar', '16000', '-sample_fmt', 's16', '-compression_level', '5'];
  await encodeCuts(
    pcm,
    recipe.cuts.map((cut, i) => ({ ...cut, path: queries[i]!.path })),
    flac,
  );
  return queries;
}

/** A whole track, or minutes of speech or noise, with the same thing done to all of it: a long negative. */
export async function renderWhole(
  id: string,
  source: Recipe['source'],
  steps: Step[],
  split: 'validation' | 'test',
): Promise<Query> {
  const whole: Recipe = { renderer: RENDERER, split, id, condition: 'long', source, steps, cuts: [] };
  const end = piecesOf(whole).at(-1)?.end ?? source.seconds;
  const cut = { seconds: Math.floor(end) - SPARE_SECONDS, at: 0 };
  const [query] = await render({ ...whole, cuts: [cut] });
  return { ...query!, id, pieces: [] };
}

/** The source of a recipe after all of its steps. */
export async function distorted(recipe: Recipe): Promise<Float32Array> {
  let pcm = await sourceOf(recipe);
  for (const step of recipe.steps) pcm = await apply(step, pcm, recipe);
  return pcm;
}

async function sourceOf({ source, split }: Recipe): Promise<Float32Array> {
  const samples = Math.round(source.seconds * RATE);
  switch (source.kind) {
    case 'track': {
      return excerptOf(source.track, Math.round(source.startSeconds * RATE), samples);
    }
    case 'speech':
      return speechOf(source.voice, source.startSeconds, samples);
    case 'noise':
      return (await noiseOf(source.noise, samples, split, source.seed)).map(
        (x) => x * 10 * gain(source.levelDb),
      );
    case 'tones':
      return tones(samples, source.seed);
    case 'silence':
      return new Float32Array(samples);
  }
}

/** Beeps, chords and sweeps: what telephones, test pictures and alarm clocks make. */
function tones(samples: number, seed: number): Float32Array {
  const random = new Random('tones', seed);
  const out = new Float32Array(samples);
  const beat = Math.round(random.between(0.15, 2) * RATE);
  const steady = random.next() < 0.5;
  let [frequencies, phase] = [[440], 0];
  for (let i = 0; i < samples; i++) {
    if (i % beat === 0 && (i === 0 || !steady)) {
      frequencies = Array.from({ length: 1 + random.below(3) }, () => 110 * 2 ** (random.below(48) / 12));
    }
    phase = (i % beat) / beat;
    const envelope = steady ? 1 : Math.exp(-3 * phase);
    for (const frequency of frequencies)
      out[i]! += 0.15 * envelope * Math.sin((2 * Math.PI * frequency * i) / RATE);
  }
  return out;
}

async function apply(step: Step, pcm: Float32Array, { split }: Recipe): Promise<Float32Array> {
  switch (step.do) {
    case 'codec': {
      const bitrate = ['-b:a', `${step.kbps}k`];
      if (step.codec === 'mp3') return throughCodec(guarded(pcm), 'mp3', ['-c:a', 'libmp3lame', ...bitrate]);
      if (step.codec === 'aac') return throughCodec(guarded(pcm), 'm4a', ['-c:a', 'aac', ...bitrate]);
      return throughCodec(guarded(pcm), 'webm', ['-c:a', 'libopus', '-ar', '48000', ...bitrate]);
    }
    case 'band':
      return fitted(
        await soxed(pcm, ['gain', '-1', 'sinc', '-n', '2048', `${step.lowHz}-${step.highHz}`]),
        pcm.length,
      );
    case 'ffmpeg':
      return fitted(await filtered(pcm, step.filter), pcm.length);
    case 'stretch':
      return stretched(pcm, step.tempo, step.pitch, step.fine);
    case 'speed':
      return filtered(pcm, `asetrate=${Math.round(RATE * step.factor)},aresample=${RATE}`);
    case 'reverb':
      return convolved(pcm, roomResponse(step.rt60Seconds, new Random('room', step.seed)));
    case 'noise':
      return mixed(pcm, await noiseOf(step.kind, pcm.length, split, step.seed), step.snrDb);
    case 'speech': {
      const start = new Random('start', step.seed).between(0, 600);
      return mixed(pcm, await speechOf(step.voice, start, pcm.length), step.snrDb);
    }
    case 'jumpCuts': {
      const whole: Piece = { start: 0, end: pcm.length / RATE, reference: 0, speed: 1 };
      return joinedPieces(pcm, jumpCuts(whole, step.seed));
    }
  }
}

/** Speech and noise come with an RMS of 0.1; they are set against the RMS of the music. */
function mixed(pcm: Float32Array, other: Float32Array, snrDb: number): Float32Array {
  const scale = (rms(pcm) / 0.1) * gain(-snrDb);
  return pcm.map((x, i) => x + other[i]! * scale);
}

function joinedPieces(pcm: Float32Array, pieces: readonly Piece[]): Float32Array {
  const out = new Float32Array(Math.round(pieces.at(-1)!.end * RATE));
  for (const piece of pieces) {
    const source = Math.round(piece.reference * RATE);
    out.set(
      pcm
        .subarray(source, source + Math.round((piece.end - piece.start) * RATE))
        .subarray(0, out.length - Math.round(piece.start * RATE)),
      Math.round(piece.start * RATE),
    );
  }
  return out;
}

/**
 * Draws negatives: 60 % music that is not in the catalogue (half of it distorted by any of the conditions), 25 %
 * speech, 10 % noise and tones, 5 % silence and what is nearly silent.
 */
export async function drawNegatives(
  outsiders: readonly Track[],
  count: number,
  split: 'validation' | 'test',
): Promise<Recipe[]> {
  const random = new Random(split, 'negatives');
  const seconds = Math.max(...LENGTHS) + LEAD_SECONDS + SPARE_SECONDS;
  const music = Math.round(count * 0.6);
  const perCondition = Math.ceil(music / 2 / (CONDITIONS.length - 1));
  const clean = await drawRecipes(conditionOf('clean'), outsiders, Math.ceil(music / 2), split, 'negative');
  const distorted = await Promise.all(
    CONDITIONS.filter((condition) => condition.id !== 'clean').map((condition) =>
      drawRecipes(condition, outsiders, perCondition, split, 'negative'),
    ),
  );
  // One of each condition, then a second of each, ...: also a small number is a fair mix.
  const inTurn = Array.from({ length: perCondition }, (_, i) =>
    distorted.map((recipes) => recipes[i]!),
  ).flat();
  const recipes = [...clean, ...inTurn.slice(0, Math.floor(music / 2))].map((recipe) => ({
    ...recipe,
    id: `negative/music-${recipe.id}`,
    condition: 'negative-music',
  }));

  const others = count - recipes.length;
  for (let number = 0; number < others; number++) {
    const share = number / others;
    const voice = random.pick(voicesFor(split));
    const source: Recipe['source'] =
      share < 0.625
        ? { kind: 'speech', voice, startSeconds: Math.round(random.between(0, 500)), seconds }
        : share < 0.8
          ? {
              kind: 'noise',
              noise: random.pick(['white', 'pink', 'brown', 'babble', 'hum', 'crackle']),
              seed: random.below(1e9),
              seconds,
              levelDb: Math.round(random.between(-45, -12)),
            }
          : share < 0.875
            ? { kind: 'tones', seed: random.below(1e9), seconds }
            : share < 0.95
              ? {
                  kind: 'noise',
                  noise: 'pink',
                  seed: random.below(1e9),
                  seconds,
                  levelDb: Math.round(random.between(-75, -55)),
                }
              : { kind: 'silence', seconds };
    const kind = source.kind === 'noise' && source.levelDb < -50 ? 'silence' : source.kind;
    recipes.push({
      renderer: RENDERER,
      split,
      id: `negative/${kind}-${String(number).padStart(3, '0')}`,
      condition: `negative-${kind}`,
      source,
      steps: [],
      cuts: drawCuts(random),
    });
  }
  return recipes;
}

/** Works through `items` with a few at a time, in order of start; results keep the order of the items. */
export async function inParallel<T, R>(
  items: readonly T[],
  jobs: number,
  work: (item: T, i: number) => Promise<R>,
): Promise<R[]> {
  const results = new Array<R>(items.length);
  let next = 0;
  const worker = async () => {
    while (next < items.length) {
      const i = next++;
      results[i] = await work(items[i]!, i);
    }
  };
  await Promise.all(Array.from({ length: jobs }, worker));
  return results;
}
