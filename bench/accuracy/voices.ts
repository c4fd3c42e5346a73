import { createHash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import {
  BENCH_CACHE,
  bytesOf,
  cachedFile,
  decode,
  RATE,
  readInt16,
  rms,
  run,
  toInt16,
  withScratch,
} from './audio.ts';
import { Random } from './random.ts';
import { musicFolder, soundFiles } from './split.ts';

// Speech that training never heard (the hold-out list of models/train/split.json), and noise. Validation and test
// have different voices.

export interface Voice {
  name: string;
  kind: 'acted' | 'telephone' | 'espeak' | 'flite';
  for: 'validation' | 'test';
}

/** `acted`: clips of a Dutch cast (the first hex digit of their level's SHA-1 is held out and names the voice). */
export const VOICES: readonly Voice[] = [
  { name: '0', kind: 'acted', for: 'validation' },
  { name: '1', kind: 'acted', for: 'validation' },
  { name: 'asterisk-core-sounds-it-g722', kind: 'telephone', for: 'validation' },
  { name: 'en-us+f3', kind: 'espeak', for: 'validation' },
  { name: 'awb', kind: 'flite', for: 'validation' },
  { name: '2', kind: 'acted', for: 'test' },
  { name: '3', kind: 'acted', for: 'test' },
  { name: 'asterisk-core-sounds-ru-g722', kind: 'telephone', for: 'test' },
  { name: 'de+m5', kind: 'espeak', for: 'test' },
  { name: 'en-gb-scotland+f2', kind: 'espeak', for: 'test' },
  { name: 'slt', kind: 'flite', for: 'test' },
];

export const voicesFor = (split: 'validation' | 'test'): Voice[] =>
  VOICES.filter((voice) => voice.for === split);

/** RMS of every speech stream while someone speaks. */
const SPEECH_RMS = 0.1;
const STREAM_SECONDS = 600;

/**
 * Samples of one voice's stream from `start` seconds on, starting over at its end: sentences at one loudness with
 * short pauses between them, always the same.
 */
export async function speechOf(voice: Voice, start: number, samples: number): Promise<Float32Array> {
  const path = await streamOf(voice);
  const length = (await stat(path)).size / 2;
  const out = new Float32Array(samples);
  let at = Math.round(start * RATE) % length;
  for (let filled = 0; filled < samples; at = 0) {
    const part = await readInt16(path, at, samples - filled);
    out.set(part, filled);
    filled += part.length;
  }
  return out;
}

function streamOf(voice: Voice): Promise<string> {
  const path = join(BENCH_CACHE, 'speech', `${voice.kind}-${voice.name}.s16`);
  return cachedFile(path, async () => {
    const random = new Random('speech', voice.kind, voice.name);
    const out: Float32Array[] = [];
    let length = 0;
    for await (const clip of clipsOf(voice, random)) {
      const level = rms(clip);
      if (level < 1e-3 || clip.length < 0.4 * RATE) continue;
      out.push(
        clip.map((x) => (x * SPEECH_RMS) / level),
        new Float32Array(random.between(0.1, 0.6) * RATE),
      );
      length += out.at(-1)!.length + clip.length;
      if (length > STREAM_SECONDS * RATE) break;
    }
    return Buffer.concat(out.map((part) => bytesOf(toInt16(part))));
  });
}

async function* clipsOf(voice: Voice, random: Random): AsyncIterable<Float32Array> {
  if (voice.kind === 'acted' || voice.kind === 'telephone') {
    const name = voice.kind === 'acted' ? 'fillets-ng-data-nl' : voice.name;
    const files = await soundFiles(name, /\.(ogg|g722)$/);
    const ours = voice.kind === 'acted' ? files.filter((path) => levelDigit(path) === voice.name) : files;
    for (const path of random.shuffled(ours)) yield trimmed(await decode(path));
    return;
  }
  for (;;) yield trimmed(await spoken(voice, random));
}

/** models/train/prepare.py holds out fillets-ng-data-nl by the folder below `sound/`. */
function levelDigit(path: string): string {
  const inside = path.slice(musicFolder('fillets-ng-data-nl').length + 1);
  const level = inside.replace(/.*\/sound\//, '').split('/')[0]!;
  return createHash('sha1').update(level).digest('hex')[0]!;
}

function spoken(voice: Voice, random: Random): Promise<Float32Array> {
  const text = Array.from({ length: 3 }, () => random.pick(SENTENCES)).join(' ');
  return withScratch(async (folder) => {
    const path = join(folder, 'spoken.wav');
    if (voice.kind === 'espeak') {
      const [speed, pitch] = [String(130 + random.below(90)), String(30 + random.below(45))];
      await run('espeak-ng', ['-v', voice.name, '-s', speed, '-p', pitch, '-w', path, text]);
    } else {
      await run('flite', ['-voice', voice.name, '-t', text, '-o', path]);
    }
    return decode(path);
  });
}

/** Without the quiet at both ends, so that the level measured is the level of speech. */
function trimmed(clip: Float32Array): Float32Array {
  const hop = RATE / 50;
  const loud = rms(clip) * 0.2;
  let [from, to] = [0, clip.length];
  while (from + hop < to && rms(clip, from, from + hop) < loud) from += hop;
  while (to - hop > from && rms(clip, to - hop, to) < loud) to -= hop;
  return clip.subarray(from, to);
}

export type NoiseKind = 'white' | 'pink' | 'brown' | 'babble' | 'hum' | 'crackle';

/** `samples` of noise with an RMS of 0.1. Babble is six voices at once. */
export async function noiseOf(
  kind: NoiseKind,
  samples: number,
  split: 'validation' | 'test',
  seed: number,
): Promise<Float32Array> {
  const random = new Random('noise', kind, seed);
  const out = new Float32Array(samples);
  if (kind === 'babble') {
    for (let speaker = 0; speaker < 6; speaker++) {
      const speech = await speechOf(
        random.pick(voicesFor(split)),
        random.between(0, STREAM_SECONDS),
        samples,
      );
      for (let i = 0; i < samples; i++) out[i]! += speech[i]!;
    }
  } else if (kind === 'hum') {
    const base = random.either(50, 60);
    for (let harmonic = 1; harmonic <= 12; harmonic++) {
      const strength = random.next() / harmonic;
      for (let i = 0; i < samples; i++)
        out[i]! += strength * Math.sin((2 * Math.PI * base * harmonic * i) / RATE);
    }
  } else if (kind === 'crackle') {
    for (let i = 0; i < samples; i++)
      out[i] = random.next() < 2e-4 ? random.normal() : out[Math.max(0, i - 1)]! * -0.6;
  } else {
    coloured(kind, out, random);
  }
  const level = rms(out) || 1;
  return out.map((x) => (x * 0.1) / level);
}

/** Pink by Paul Kellet's filter, brown by a leaky integrator. */
function coloured(kind: 'white' | 'pink' | 'brown', out: Float32Array, random: Random): void {
  let [b0, b1, b2, brown] = [0, 0, 0, 0];
  for (let i = 0; i < out.length; i++) {
    const white = random.next() * 2 - 1;
    if (kind === 'white') out[i] = white;
    if (kind === 'brown') out[i] = brown = 0.998 * brown + 0.02 * white;
    if (kind === 'pink') {
      b0 = 0.99765 * b0 + white * 0.099046;
      b1 = 0.963 * b1 + white * 0.2965164;
      b2 = 0.57 * b2 + white * 1.0526913;
      out[i] = b0 + b1 + b2 + white * 0.1848;
    }
  }
}

/** Harvard sentences (IEEE recommended practice for speech quality measurements, 1969). */
const SENTENCES = `The birch canoe slid on the smooth planks. Glue the sheet to the dark blue background.
It's easy to tell the depth of a well. These days a chicken leg is a rare dish. Rice is often served in round bowls.
The juice of lemons makes fine punch. The box was thrown beside the parked truck. The hogs were fed chopped corn and
garbage. Four hours of steady work faced us. A large size in stockings is hard to sell. The boy was there when the sun
rose. A rod is used to catch pink salmon. The source of the huge river is the clear spring. Kick the ball straight and
follow through. Help the woman get back to her feet. A pot of tea helps to pass the evening. Smoky fires lack flame and
heat. The soft cushion broke the man's fall. The salt breeze came across from the sea. The girl at the booth sold fifty
bonds. The small pup gnawed a hole in the sock. The fish twisted and turned on the bent hook. Press the pants and sew a
button on the vest. The swan dive was far short of perfect. The beauty of the view stunned the young boy. Two blue fish
swam in the tank. Her purse was full of useless trash. The colt reared and threw the tall rider. It snowed, rained, and
hailed the same morning. Read verse out loud for pleasure. Hoist the load to your left shoulder. Take the winding path
to reach the lake. Note closely the size of the gas tank. Wipe the grease off his dirty face. Mend the coat before you
go out. The wrist was badly strained and hung limp. The stray cat gave birth to kittens. The young girl gave no clear
response. The meal was cooked before the bell rang. What joy there is in living.`
  .replaceAll('\n', ' ')
  .split(/(?<=\.) /);
