import { existsSync } from 'node:fs';
import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BENCH_CACHE, encode, gain, hashOf, RATE, rms, run, withScratch } from '../accuracy/audio.ts';
import { Random } from '../accuracy/random.ts';
import { levelsOf, pcmOf, type Track } from '../accuracy/split.ts';
import { speechOf, VOICES } from '../accuracy/voices.ts';

/** One excerpt in an upload: which file, and where on both sides, milliseconds. */
export interface Hidden {
  path: string;
  uploadStartMs: number;
  uploadEndMs: number;
  referenceStartMs: number;
  referenceEndMs: number;
}

export interface Upload {
  title: string;
  path: string;
  hidden: Hidden[];
}

const UPLOAD_SECONDS = 600;
const EXCERPT_SECONDS = 30;

/** How the same ten minutes reach a platform. */
const FORMATS = [
  { title: 'MP3 64 kb/s mono', extension: 'mp3', output: ['-c:a', 'libmp3lame', '-b:a', '64k'] },
  {
    title: 'Opus 24 kb/s in WebM',
    extension: 'webm',
    output: ['-c:a', 'libopus', '-ar', '48000', '-b:a', '24k'],
  },
  { title: 'AAC in MP4 with a picture', extension: 'mp4', output: ['-c:a', 'aac', '-b:a', '96k'] },
] as const;

/** Ten minutes of someone talking, with 30 s excerpts of three tracks in it, in three formats (other excerpts in each). */
export async function makeUploads(tracks: readonly Track[]): Promise<Upload[]> {
  const random = new Random('real uploads');
  const order = random.shuffled(tracks.filter(({ seconds }) => seconds >= EXCERPT_SECONDS + 20));
  const uploads: Upload[] = [];
  for (const format of FORMATS) {
    const chosen = order.splice(0, 3);
    const excerpts = await Promise.all(chosen.map((track) => chooseExcerpt(track, random)));
    const { pcm, hidden } = await compose(excerpts);
    const path = join(BENCH_CACHE, 'real', `${hashOf([format, hidden])}.${format.extension}`);
    if (!existsSync(path)) await write(pcm, path, format.extension, format.output);
    uploads.push({ title: format.title, path, hidden });
  }
  return uploads;
}

/** Thirty seconds that are nowhere silent, neither on their edges. */
async function chooseExcerpt(track: Track, random: Random): Promise<{ track: Track; start: number }> {
  const levels = await levelsOf(track);
  for (;;) {
    const start = Math.round(random.between(0, track.seconds - EXCERPT_SECONDS - 1) * 10) / 10;
    const inside = levels.subarray(start * 10, (start + EXCERPT_SECONDS) * 10);
    if (inside.every((_, i) => i % 10 !== 0 || rms(inside.subarray(i, i + 10)) > gain(-45)))
      return { track, start };
  }
}

/** Speech, excerpt, speech, excerpt, speech, excerpt, speech; all equally loud, hard cuts between them. */
async function compose(
  excerpts: { track: Track; start: number }[],
): Promise<{ pcm: Float32Array; hidden: Hidden[] }> {
  const pcm = new Float32Array(UPLOAD_SECONDS * RATE);
  const passage = (UPLOAD_SECONDS - EXCERPT_SECONDS * excerpts.length) / (excerpts.length + 1);
  const actors = VOICES.filter(({ kind }) => kind === 'acted');
  const hidden: Hidden[] = [];
  for (let i = 0; i <= excerpts.length; i++) {
    const at = i * (passage + EXCERPT_SECONDS);
    const speech = await speechOf(actors[i % actors.length]!, 0, Math.round(passage * RATE));
    pcm.set(speech, Math.round(at * RATE));
    const excerpt = excerpts[i];
    if (!excerpt) break;
    const { track, start } = excerpt;
    const music = (await pcmOf(track)).slice(start * RATE, (start + EXCERPT_SECONDS) * RATE);
    const scale = 0.1 / rms(music);
    pcm.set(
      music.map((x) => Math.max(-1, Math.min(1, x * scale))),
      Math.round((at + passage) * RATE),
    );
    const uploadStartMs = Math.round((at + passage) * 1000);
    hidden.push({
      path: track.path,
      uploadStartMs,
      uploadEndMs: uploadStartMs + EXCERPT_SECONDS * 1000,
      referenceStartMs: Math.round(start * 1000),
      referenceEndMs: Math.round((start + EXCERPT_SECONDS) * 1000),
    });
  }
  return { pcm, hidden };
}

async function write(
  pcm: Float32Array,
  path: string,
  extension: string,
  output: readonly string[],
): Promise<void> {
  if (extension !== 'mp4') return encode(pcm, path, output);
  await withScratch(async (folder) => {
    const [sound, whole] = [join(folder, 'sound.m4a'), join(folder, 'whole.mp4')];
    await encode(pcm, sound, output);
    const picture = ['-f', 'lavfi', '-i', `testsrc=size=320x180:rate=10:duration=${UPLOAD_SECONDS}`];
    const copy = ['-map', '0:v', '-map', '1:a', '-c:v', 'libx264', '-preset', 'ultrafast', '-c:a', 'copy'];
    await run('ffmpeg', ['-v', 'error', '-nostdin', '-y', ...picture, '-i', sound, ...copy, whole]);
    await copyFile(whole, path);
  });
}
