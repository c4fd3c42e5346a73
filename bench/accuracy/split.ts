import { existsSync, readFileSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import {
  BENCH_CACHE,
  bytesOf,
  CACHE,
  cachedFile,
  decode,
  fromInt16,
  hashOf,
  RATE,
  readInt16,
  rms,
  run,
  toInt16,
} from './audio.ts';
import { Random } from './random.ts';
import { SIEVE, sharedPieces, type View, viewOf } from './same-audio.ts';

// Which music is whose: models/train/split.json names each package's split and the tracks that were taken out
// because they share audio with a better protected split. The trainer writes it; the bench only reads it.

export const SplitName = z.enum(['train', 'validation', 'test']);
export type SplitName = z.infer<typeof SplitName>;

const SplitFile = z.object({
  packages: z.record(z.string(), SplitName),
  minTrackSeconds: z.number(),
  removed: z.array(z.object({ package: z.string(), file: z.string() }).loose()),
});

export interface Track {
  /** `<package>/<file name>`, the reference id in the bench's catalogue. */
  id: string;
  package: string;
  path: string;
  seconds: number;
}

const SOUND = /\.(ogg|opus|mp3|flac|wav|oga|m4a)$/i;
/** The stems of songs that are there as a whole, ambience, jingles and voices: what models/train/prepare.py skips. */
const NOT_MUSIC = /voice|\/amb|ambien(t|ce)_|\/sfx\/|\/sounds?\/(?!.*music)|\/(guitar|rhythm)\.ogg$/i;

export const musicFolder = (name: string): string => join(CACHE, 'music', name);

/** All sound files of an unpacked package, sorted. */
export async function soundFiles(name: string, sound = SOUND): Promise<string[]> {
  const folder = musicFolder(name);
  if (!existsSync(folder)) throw new Error(`${name} is not there: run models/train/fetch_music.sh first`);
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile() && sound.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

/** The music of a split: long enough, not taken out, sorted by package and path. */
export async function tracksOf(split: SplitName): Promise<Track[]> {
  const { packages, removed } = splitFile();
  const out = new Set(removed.map((item) => `${item.package}/${item.file}`));
  const names = Object.keys(packages)
    .filter((name) => packages[name] === split)
    .sort();
  const tracks: Track[] = [];
  for (const name of names) tracks.push(...(await tracksIn(name)));
  return tracks.filter((track) => !out.has(`${track.package}/${insideOf(track)}`));
}

/** The music of one package. */
export async function tracksIn(name: string): Promise<Track[]> {
  const { minTrackSeconds } = splitFile();
  const tracks: Track[] = [];
  for (const path of await soundFiles(name)) {
    const inside = insideOf({ package: name, path });
    if (NOT_MUSIC.test(inside)) continue;
    const seconds = await durationOf(path);
    const id = `${name}/${inside.split('/').slice(-2).join('/')}`;
    if (seconds >= minTrackSeconds) tracks.push({ id, package: name, path, seconds });
  }
  await saveDurations();
  return tracks;
}

const splitFile = () =>
  SplitFile.parse(
    JSON.parse(readFileSync(new URL('../../models/train/split.json', import.meta.url), 'utf8')),
  );

const insideOf = (track: Pick<Track, 'package' | 'path'>) =>
  track.path.slice(musicFolder(track.package).length + 1);

const durationsFile = join(BENCH_CACHE, 'durations.json');
let durations: Record<string, number> | undefined;
let measured = false;

async function durationOf(path: string): Promise<number> {
  durations ??= existsSync(durationsFile) ? JSON.parse(await readFile(durationsFile, 'utf8')) : {};
  const args = ['-v', 'error', '-show_entries', 'format=duration', '-of', 'csv=p=0', path];
  // Some games ship sound effects with broken headers: what ffprobe cannot read is no track of ours.
  const known = durations![path];
  if (known !== undefined) return known;
  measured = true;
  durations![path] = await run('ffprobe', args).then(
    (text) => Number(text.toString()) || 0,
    () => 0,
  );
  return durations![path];
}

/** In one step: another bench may read it meanwhile. */
async function saveDurations(): Promise<void> {
  if (!measured) return;
  measured = false;
  await mkdir(BENCH_CACHE, { recursive: true });
  const part = `${durationsFile}.${process.pid}`;
  await writeFile(part, JSON.stringify(durations));
  await rename(part, durationsFile);
}

/** A track's PCM (decoded once, kept as 16 bit on disk). */
export async function pcmOf(track: Pick<Track, 'path'>): Promise<Float32Array> {
  return fromInt16(await readFile(await pcmFileOf(track)));
}

/** A stretch of it, without reading the rest. */
export const excerptOf = async (
  track: Pick<Track, 'path'>,
  startSample: number,
  samples: number,
): Promise<Float32Array> => readInt16(await pcmFileOf(track), startSample, samples);

/** The file that keeps it: raw, 16 bit, mono, at RATE. */
export const pcmFileOf = (track: Pick<Track, 'path'>): Promise<string> =>
  cachedFile(join(BENCH_CACHE, 'pcm', `${hashOf(track.path)}.s16`), async () =>
    bytesOf(toInt16(await decode(track.path))),
  );

/** RMS of every tenth of a second. */
export const LEVEL_RATE = 10;
export async function levelsOf(track: Pick<Track, 'path'>): Promise<Float32Array> {
  const path = join(BENCH_CACHE, 'levels', `${hashOf(track.path)}.f32`);
  await cachedFile(path, async () => {
    const pcm = await pcmOf(track);
    const hop = RATE / LEVEL_RATE;
    return bytesOf(
      new Float32Array(Math.floor(pcm.length / hop)).map((_, i) => rms(pcm, i * hop, (i + 1) * hop)),
    );
  });
  return new Float32Array(new Uint8Array(await readFile(path)).buffer);
}

/** A track's spectral view, for telling the same audio from other audio. */
export async function cachedViewOf(track: Pick<Track, 'path'>): Promise<View> {
  const path = join(BENCH_CACHE, 'views', `${hashOf(track.path)}.f32`);
  await cachedFile(path, async () => bytesOf(viewOf(await pcmOf(track)).bands));
  const bands = new Float32Array(new Uint8Array(await readFile(path)).buffer);
  return { frames: bands.length / 24, bands };
}

export interface Protocol {
  split: 'validation' | 'test';
  /** Half of the split's tracks: in the catalogue, and what positive queries are cut from. */
  insiders: Track[];
  /** The other half: never in the catalogue. No outsider shares audio with an insider. */
  outsiders: Track[];
  /** The training music: in the catalogue, so that the right track must be told from many. */
  distractors: Track[];
}

/**
 * Who is in the catalogue and who is not, for a split. Seeded; tracks that share audio stay on one side.
 * Outsiders of the test split are joined by all validation music (more hours of negatives).
 */
export async function protocolOf(split: 'validation' | 'test'): Promise<Protocol> {
  const tracks = await tracksOf(split);
  const random = new Random('halves', split);
  const insiders: Track[] = [];
  const outsiders: Track[] = [];
  for (const group of random.shuffled(await familiesOf(tracks, split))) {
    const seconds = (side: Track[]) => side.reduce((sum, track) => sum + track.seconds, 0);
    (seconds(insiders) <= seconds(outsiders) ? insiders : outsiders).push(...group);
  }
  const byId = (a: Track, b: Track) => (a.id < b.id ? -1 : 1);
  return {
    split,
    insiders: insiders.sort(byId),
    outsiders: [...outsiders, ...(split === 'test' ? await tracksOf('validation') : [])].sort(byId),
    distractors: await tracksOf('train'),
  };
}

/** Tracks grouped so that those which share audio are together. */
async function familiesOf(tracks: Track[], name: string): Promise<Track[][]> {
  const path = join(
    BENCH_CACHE,
    'families',
    `${name}-${hashOf([tracks.map((track) => track.id), SIEVE])}.json`,
  );
  await cachedFile(path, async () => {
    const views = await Promise.all(tracks.map(cachedViewOf));
    const family = tracks.map((_, i) => i);
    const rootOf = (i: number): number => (family[i] === i ? i : rootOf(family[i]!));
    views.forEach((view, j) => {
      sharedPieces(views, view).forEach((shared, i) => {
        if (shared.pieces >= 2) family[rootOf(i)] = rootOf(j);
      });
    });
    return Buffer.from(JSON.stringify(tracks.map((_, i) => rootOf(i))));
  });
  const roots: number[] = JSON.parse(await readFile(path, 'utf8'));
  return [...new Set(roots)].map((root) => tracks.filter((_, i) => roots[i] === root));
}
