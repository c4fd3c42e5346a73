import type { Random } from './random.ts';
import type { NoiseKind, Voice } from './voices.ts';
import { voicesFor } from './voices.ts';

// What is done to an excerpt, as data: a recipe can be hashed, stored and rendered again.

/** One step of a distortion chain. Decibels are music against noise or speech, over the whole query. */
export type Step =
  | { do: 'codec'; codec: 'mp3' | 'aac' | 'opus'; kbps: number }
  /** A steep band-pass. */
  | { do: 'band'; lowHz: number; highHz: number }
  | { do: 'ffmpeg'; filter: string }
  /** Tempo and pitch as factors, independent of each other. */
  | { do: 'stretch'; tempo: number; pitch: number; fine: boolean }
  /** Plays faster and higher, or slower and lower. */
  | { do: 'speed'; factor: number }
  | { do: 'reverb'; rt60Seconds: number; seed: number }
  | { do: 'noise'; kind: NoiseKind; snrDb: number; seed: number }
  | { do: 'speech'; voice: Voice; snrDb: number; seed: number }
  /** Keeps pieces of 1.5-3 s and leaves 0.5-1.5 s out between them. */
  | { do: 'jumpCuts'; seed: number };

export interface Condition {
  id: string;
  title: string;
  /** The sixteen of the public table, or the six that are done to get past such systems. */
  group: 'table' | 'hard';
  /** Right track and offset that we want to reach, per cent of excerpts of each of `LENGTHS`. */
  aim: readonly [number, number, number];
  steps(random: Random, split: 'validation' | 'test'): Step[];
}

const seed = (random: Random) => random.below(1e9);
const noise =
  (snrDb: number) =>
  (random: Random): Step[] => [
    {
      do: 'noise',
      kind: random.pick(['white', 'pink', 'pink', 'brown', 'babble', 'babble']),
      snrDb,
      seed: seed(random),
    },
  ];
const speech =
  (snrDb: number) =>
  (random: Random, split: 'validation' | 'test'): Step[] => {
    // Half of the talkers are actors, the others telephone announcers and synthetic voices.
    const acted = random.next() < 0.5;
    const voices = voicesFor(split).filter((voice) => (voice.kind === 'acted') === acted);
    return [{ do: 'speech', voice: random.pick(voices), snrDb, seed: seed(random) }];
  };
const pitch =
  (percent: number) =>
  (random: Random): Step[] => {
    const factor = 1 + percent / 100;
    return [
      { do: 'stretch', tempo: 1, pitch: random.either(factor, 1 / factor), fine: random.either(true, false) },
    ];
  };
const tempo =
  (percent: number) =>
  (random: Random): Step[] => {
    const factor = 1 + percent / 100;
    return [
      { do: 'stretch', tempo: random.either(factor, 1 / factor), pitch: 1, fine: random.either(true, false) },
    ];
  };
const reverb =
  (rt60Seconds: number) =>
  (random: Random): Step[] => [{ do: 'reverb', rt60Seconds, seed: seed(random) }];
const mp3 = (): Step[] => [{ do: 'codec', codec: 'mp3', kbps: 64 }];
const phone = (): Step[] => [{ do: 'band', lowHz: 300, highHz: 3400 }];

/** Every cell of the table, in its order, and then the hard ones. */
export const CONDITIONS: readonly Condition[] = [
  { id: 'clean', title: 'clean', group: 'table', aim: [98, 99.5, 99.5], steps: () => [] },
  { id: 'mp3-64k', title: 'MP3 64k mono', group: 'table', aim: [98, 99.5, 99.5], steps: mp3 },
  {
    id: 'aac-opus-24k',
    title: 'AAC/Opus 24k',
    group: 'table',
    aim: [98, 99.5, 99.5],
    steps: (random) => [{ do: 'codec', codec: random.either('aac', 'opus'), kbps: 24 }],
  },
  { id: 'phone', title: 'phone band 300-3400 Hz', group: 'table', aim: [98, 99.5, 99.5], steps: phone },
  { id: 'noise-10', title: 'noise 10 dB', group: 'table', aim: [97, 99, 99.5], steps: noise(10) },
  { id: 'noise-5', title: 'noise 5 dB', group: 'table', aim: [95, 98, 99], steps: noise(5) },
  { id: 'noise-0', title: 'noise 0 dB', group: 'table', aim: [88, 95, 98], steps: noise(0) },
  { id: 'speech-0', title: 'speech over it, 0 dB', group: 'table', aim: [75, 92, 98], steps: speech(0) },
  { id: 'reverb', title: 'reverb (RT60 0.5 s)', group: 'table', aim: [97, 99, 99.5], steps: reverb(0.5) },
  {
    id: 'eq',
    title: 'EQ tilt + compressor',
    group: 'table',
    aim: [98, 99.5, 99.5],
    steps: (random) => {
      const tilt = random.either(1, -1) * random.between(5, 9);
      const shelves = `bass=g=${tilt.toFixed(1)}:f=300,treble=g=${(-tilt).toFixed(1)}:f=2500`;
      return [
        {
          do: 'ffmpeg',
          filter: `${shelves},acompressor=threshold=-24dB:ratio=6:attack=5:release=100:makeup=2`,
        },
      ];
    },
  },
  { id: 'pitch-2', title: 'pitch 2 %', group: 'table', aim: [97, 99, 99.5], steps: pitch(2) },
  { id: 'pitch-5', title: 'pitch 5 %', group: 'table', aim: [95, 98, 99], steps: pitch(5) },
  { id: 'tempo-4', title: 'tempo 4 %', group: 'table', aim: [97, 99, 99.5], steps: tempo(4) },
  { id: 'tempo-8', title: 'tempo 8 %', group: 'table', aim: [95, 98, 99], steps: tempo(8) },
  {
    id: 'speed-3',
    title: 'speed 3 % (both)',
    group: 'table',
    aim: [95, 98, 99],
    steps: (random) => [{ do: 'speed', factor: random.either(1.03, 1 / 1.03) }],
  },
  {
    id: 'speech-10',
    title: 'music 10 dB under speech',
    group: 'table',
    aim: [35, 60, 80],
    steps: speech(-10),
  },
  {
    id: 'pitch-12',
    title: 'pitch 12 % (2 semitones)',
    group: 'hard',
    aim: [80, 92, 97],
    steps: (random) => {
      const factor = 2 ** (2 / 12);
      return [
        {
          do: 'stretch',
          tempo: 1,
          pitch: random.either(factor, 1 / factor),
          fine: random.either(true, false),
        },
      ];
    },
  },
  { id: 'tempo-20', title: 'tempo 20 %', group: 'hard', aim: [95, 98, 99], steps: tempo(20) },
  {
    id: 'nightcore',
    title: 'nightcore: speed +25 %',
    group: 'hard',
    aim: [80, 92, 97],
    steps: () => [{ do: 'speed', factor: 1.25 }],
  },
  {
    id: 'slowed',
    title: 'slowed: speed -15 %, reverb 1 s',
    group: 'hard',
    aim: [75, 90, 96],
    steps: (random) => [{ do: 'speed', factor: 0.85 }, ...reverb(1)(random)],
  },
  {
    id: 'jump-cuts',
    title: 'jump cuts (1.5-3 s pieces)',
    group: 'hard',
    aim: [90, 97, 99],
    steps: (random) => [{ do: 'jumpCuts', seed: seed(random) }],
  },
  {
    id: 'filmed',
    title: 'filmed off a speaker',
    group: 'hard',
    aim: [90, 97, 99],
    steps: (random) => [...phone(), ...reverb(0.5)(random), ...noise(10)(random), ...mp3()],
  },
];

export const conditionOf = (id: string): Condition => {
  const found = CONDITIONS.find((condition) => condition.id === id);
  if (!found)
    throw new Error(
      `no condition ${id}; there are ${CONDITIONS.map((condition) => condition.id).join(', ')}`,
    );
  return found;
};
