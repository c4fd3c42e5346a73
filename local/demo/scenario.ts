import type { AudioFormat } from '../../functions/adapters/media/encode.ts';
import { street } from './synth/noise.ts';
import { Random } from './synth/random.ts';
import { mixInto, SAMPLE_RATE, samplesOf, setLevel } from './synth/sound.ts';
import { crowd, type Speaker, speak } from './synth/voice.ts';

/** A stretch of a recording as it was hidden in an upload. */
export interface Hidden {
  title: string;
  uploadStartMs: number;
  uploadEndMs: number;
  referenceStartMs: number;
  referenceEndMs: number;
  /** Seconds of the recording that pass in one second of the upload. */
  speed: number;
  /** What was done to it, in words. */
  how: string;
}

/** A file that somebody uploads, and what its maker knows of it. */
export interface Upload {
  name: string;
  story: string;
  /** Mono at SAMPLE_RATE. */
  audio: Float32Array;
  file: { format: AudioFormat; bitRate: number; picture?: 'video'; words: string };
  hidden: Hidden[];
}

/** The rendered recordings, by title. */
export type Recordings = ReadonlyMap<string, Float32Array>;

const SHE: Speaker = { pitch: 200, tract: 1.13, pace: 5.1 };
const HE: Speaker = { pitch: 112, tract: 1, pace: 4.6 };

/** Levels are dBFS; times are seconds. */
interface Placing {
  at: number;
  level: number;
  /** Fade in and out. */
  fade?: number;
  /** Stretches (from, to) of the upload under which this gives way, and by how much. */
  ducks?: readonly (readonly [number, number])[];
  duckBy?: number;
}

/**
 * The upload that has something to hide: a video diary with two pieces of other people's music in it, one under the
 * voice for half of its length, the other sped up by 4 % and quiet behind a street.
 */
export function travelDiary(recordings: Recordings): Upload {
  const random = new Random(20_11);
  const desk = new Desk(98);
  const ferry = { title: 'Neon Ferry', from: 22, seconds: 28, at: 13, speed: 1 };
  const market = { title: 'Monsoon Market', from: 19, seconds: 25, at: 58, speed: 1.04 };

  desk.place(street(42, random.fork('street')), { at: 0, level: -30, fade: 0.5 });
  desk.place(speak(12, SHE, random.fork('hello')), { at: 0.4, level: -19 });
  desk.place(excerptOf(recordings, ferry), {
    at: ferry.at,
    level: -17,
    fade: 0.3,
    ducks: [[27, 41]],
    duckBy: 5,
  });
  desk.place(speak(13, SHE, random.fork('on board')), { at: 27.5, level: -22 });
  desk.place(crowd(20, random.fork('café')), { at: 40, level: -29, fade: 0.8 });
  desk.place(speak(16, HE, random.fork('interview')), { at: 41.5, level: -19 });
  desk.place(street(40, random.fork('market')), { at: 58, level: -33, fade: 1 });
  desk.place(excerptOf(recordings, market), { at: market.at, level: -23, fade: 0.3 });
  desk.place(speak(14, SHE, random.fork('goodbye')), { at: 83.5, level: -19 });

  return {
    name: 'travel-diary.webm',
    story: 'talk, a street, a café, and two pieces of music that belong to others',
    audio: desk.finish(),
    file: { format: 'webm', bitRate: 32_000, picture: 'video', words: 'WebM video, Opus 32 kb/s' },
    hidden: [
      hiddenAs(ferry, 'as recorded, the second half under a voice'),
      hiddenAs(market, 'sped up by 4 %, quiet, behind a street'),
    ],
  };
}

/** The upload that has nothing to hide: its maker talks, and plays a tune of her own. */
export function kitchenSession(recordings: Recordings, ownTune: string): Upload {
  const random = new Random(20_12);
  const desk = new Desk(62);
  desk.place(crowd(62, random.fork('kitchen')), { at: 0, level: -38, fade: 0.5 });
  desk.place(speak(9, HE, random.fork('intro')), { at: 0.5, level: -19 });
  desk.place(excerptOf(recordings, { title: ownTune, from: 4, seconds: 42, speed: 1 }), {
    at: 10,
    level: -17,
    fade: 0.5,
  });
  desk.place(speak(9, HE, random.fork('thanks')), { at: 52.5, level: -19 });
  return {
    name: 'kitchen-session.mp3',
    story: 'talk and a tune that nobody has registered',
    audio: desk.finish(),
    file: { format: 'mp3', bitRate: 64_000, words: 'MP3 64 kb/s' },
    hidden: [],
  };
}

interface Excerpt {
  title: string;
  /** Where it starts in the recording, and how long it lasts in the upload. */
  from: number;
  seconds: number;
  speed: number;
}

function hiddenAs({ title, from, seconds, at, speed }: Excerpt & { at: number }, how: string): Hidden {
  return {
    title,
    uploadStartMs: at * 1000,
    uploadEndMs: (at + seconds) * 1000,
    referenceStartMs: from * 1000,
    referenceEndMs: (from + seconds * speed) * 1000,
    speed,
    how,
  };
}

/** Cuts an excerpt and plays it at its speed, pitch and tempo alike, as a turntable does. */
export function excerptOf(recordings: Recordings, { title, from, seconds, speed }: Excerpt): Float32Array {
  const recording = recordings.get(title);
  if (!recording) throw new RangeError(`there is no recording of "${title}"`);
  const start = from * SAMPLE_RATE;
  const out = new Float32Array(samplesOf(seconds));
  if (start + out.length * speed > recording.length) {
    throw new RangeError(`the excerpt of "${title}" leaves the recording`);
  }
  for (let i = 0; i < out.length; i++) {
    const at = start + i * speed;
    const n = Math.floor(at);
    const t = at - n;
    // Cubic between four samples (Catmull-Rom).
    const [a, b, c, d] = [recording[n - 1] ?? 0, recording[n]!, recording[n + 1] ?? 0, recording[n + 2] ?? 0];
    out[i] = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)));
  }
  return out;
}

/** A mixing desk: sounds are placed in time at a level, and come out as one. */
class Desk {
  readonly #mix: Float32Array;

  constructor(seconds: number) {
    this.#mix = new Float32Array(samplesOf(seconds));
  }

  place(sound: Float32Array, { at, level, fade = 0.05, ducks = [], duckBy = 0 }: Placing): void {
    const placed = setLevel(sound.slice(), level);
    const ramp = samplesOf(fade);
    for (let i = 0; i < ramp; i++) {
      placed[i]! *= i / ramp;
      placed[placed.length - 1 - i]! *= i / ramp;
    }
    // The engineer's hand takes a quarter of a second.
    const hand = 1 - Math.exp(-4 / SAMPLE_RATE);
    let gain = 1;
    for (let i = 0; i < placed.length && duckBy > 0; i++) {
      const now = at + i / SAMPLE_RATE;
      const aim = ducks.some(([from, to]) => now >= from && now < to) ? 10 ** (-duckBy / 20) : 1;
      gain += hand * (aim - gain);
      placed[i]! *= gain;
    }
    mixInto(this.#mix, placed, samplesOf(at));
  }

  /** The mix, with a ceiling at which peaks bend instead of breaking. */
  finish(): Float32Array {
    return this.#mix.map((x) =>
      Math.abs(x) < 0.7 ? x : Math.sign(x) * (0.7 + 0.28 * Math.tanh((Math.abs(x) - 0.7) / 0.28)),
    );
  }
}
