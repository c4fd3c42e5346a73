import { DRUMS, type Drum } from './drums.ts';
import type { Random } from './random.ts';
import { type Chord, chordTone, nearest, type Scale, stepFrom, voicing } from './theory.ts';

/** One note of a part; times in beats from the start of its bar. */
export interface Note {
  beat: number;
  beats: number;
  pitch: number;
  velocity: number;
}

/** What a musician knows when a bar begins. */
export interface Bar {
  /** Place of the bar in its section, and how many there are. */
  index: number;
  bars: number;
  beats: number;
  /** How often this section was played before. */
  repeat: number;
  chords: readonly Chord[];
  scale: Scale;
  /** Differs from bar to bar. */
  random: Random;
  /** The same whenever the section comes again: what makes a tune a tune. */
  motif: Random;
  /** What was played before: the hand stays where it is. */
  memory: { pitch?: number };
}

/** What a musician plays in a bar. */
export type Pattern = (bar: Bar) => Note[];

const chordAt = ({ chords, beats }: Bar, beat: number): Chord =>
  chords[Math.min(chords.length - 1, Math.floor((beat / beats) * chords.length))]!;

/** A grid spreads its characters evenly over a bar; spaces are there for the eye. */
interface Step {
  sign: string;
  beat: number;
  beats: number;
}

function readGrid(grid: string, beats: number): Step[] {
  const signs = grid.replaceAll(' ', '');
  const unit = beats / signs.length;
  const steps: Step[] = [];
  for (let i = 0; i < signs.length; i++) {
    const sign = signs[i]!;
    if (sign === '-') {
      const last = steps.at(-1);
      if (last) last.beats += unit;
    } else {
      steps.push({ sign, beat: i * unit, beats: unit });
    }
  }
  return steps.filter(({ sign }) => sign !== '.');
}

const ACCENT: Record<string, number> = { X: 1, x: 0.78, o: 0.38 };

/**
 * Drums, each with its grid: `X` accent, `x` hit, `o` ghost. Several grids take turns by bar. The last bar of a
 * section ends in a fill, ghost notes come and go, and a crash opens the section.
 */
export function drums(
  grids: Partial<Record<Drum, string | readonly string[]>>,
  { fill = ['snare', 'tom', 'lowTom'] as readonly Drum[], loose = 0.06, crash = true } = {},
): Pattern {
  return (bar) => {
    const { random, index, bars, beats } = bar;
    const notes: Note[] = [];
    const hit = (drum: Drum, beat: number, velocity: number) =>
      notes.push({ beat, beats: 0.1, pitch: DRUMS[drum], velocity });
    const fillFrom = index === bars - 1 && fill.length > 0 ? beats - random.pick([1, 1, 2, 1.5]) : beats;
    for (const [drum, grid] of Object.entries(grids) as [Drum, string | readonly string[]][]) {
      const lines = typeof grid === 'string' ? [grid] : grid;
      for (const { sign, beat } of readGrid(lines[index % lines.length]!, beats)) {
        if (beat >= fillFrom && drum !== 'kick') continue;
        if (sign === 'o' && random.chance(0.25)) continue;
        hit(drum, beat, ACCENT[sign] ?? 0.7);
      }
      if (random.chance(loose * 2)) hit(drum, random.integer(beats * 4) / 4, random.between(0.2, 0.4));
    }
    if (fillFrom < beats) {
      const step = random.pick([0.25, 0.25, 1 / 3]);
      for (let beat = fillFrom; beat < beats - 0.01; beat += step) {
        if (random.chance(0.82)) {
          const progress = (beat - fillFrom) / (beats - fillFrom);
          hit(
            fill[Math.min(fill.length - 1, Math.floor(progress * fill.length))]!,
            beat,
            0.5 + 0.4 * progress,
          );
        }
      }
    }
    if (crash && index === 0) hit('crash', 0, 0.7);
    return notes;
  };
}

/** Whole chords on a grid (`x`, `X`, `o`; `-` holds), near `centre`; `strum` beats from the first string to the last. */
export function chords(grids: string | readonly string[], centre = 60, strum = 0.02): Pattern {
  const lines = typeof grids === 'string' ? [grids] : grids;
  return (bar) =>
    readGrid(lines[bar.index % lines.length]!, bar.beats).flatMap(({ sign, beat, beats }, i) => {
      const pitches = voicing(chordAt(bar, beat), centre + (bar.repeat % 2) * 2);
      const spread = i % 2 ? pitches.reverse() : pitches;
      return spread.map((pitch, n) => ({
        beat: beat + n * strum,
        beats: Math.max(0.1, beats - n * strum),
        pitch,
        velocity: (ACCENT[sign] ?? 0.7) * (0.85 + 0.15 * bar.random.next()),
      }));
    });
}

/** Held chords, one per change, each beginning and ending with its neighbour: pads and strings. */
export function pads(centre = 60): Pattern {
  return (bar) =>
    bar.chords.flatMap((chord, i) => {
      const beats = bar.beats / bar.chords.length;
      return voicing(chord, centre).map((pitch) => ({
        beat: i * beats,
        beats: beats * 1.02,
        pitch,
        velocity: 0.6 + 0.12 * bar.random.gauss(),
      }));
    });
}

/** Broken chords: digits count chord tones upwards from near `centre`; beyond the top they go on an octave higher. */
export function arpeggio(grids: string | readonly string[], centre = 60, change = 0.08): Pattern {
  const lines = typeof grids === 'string' ? [grids] : grids;
  return (bar) =>
    readGrid(lines[bar.index % lines.length]!, bar.beats).map(({ sign, beat, beats }) => {
      const pitches = voicing(chordAt(bar, beat), centre);
      const wanted = Number(sign) + (bar.random.chance(change) ? bar.random.pick([-1, 1, 2]) : 0);
      const n = Math.max(0, wanted);
      const pitch = pitches[n % pitches.length]! + 12 * Math.floor(n / pitches.length);
      const onBeat = Math.abs(beat - Math.round(beat)) < 0.01;
      return {
        beat,
        beats: beats * 0.92,
        pitch,
        velocity: (onBeat ? 0.8 : 0.62) + 0.08 * bar.random.gauss(),
      };
    });
}

/** A bass on a grid: `r` root, `3` third, `5` fifth, `7` seventh, `8` octave, `n` a step towards the next bar. */
export function bass(grids: string | readonly string[], centre = 36): Pattern {
  const lines = typeof grids === 'string' ? [grids] : grids;
  return (bar) =>
    readGrid(lines[bar.index % lines.length]!, bar.beats).map(({ sign, beat, beats }) => {
      const chord = chordAt(bar, beat);
      const root = nearest(chord.root, centre);
      const third = root + (chord.tones[1] ?? 7);
      const pitch = {
        '3': third,
        '5': root + 7,
        '7': root + 10,
        '8': root + 12,
        n: stepFrom(bar.scale, root, bar.random.pick([-1, 1, 4])),
      }[sign];
      return { beat, beats: beats * 0.95, pitch: pitch ?? root, velocity: 0.8 + 0.07 * bar.random.gauss() };
    });
}

/** A walking bass: chord tones on the changes, steps between them, a skip now and then. */
export function walking(centre = 38): Pattern {
  return (bar) => {
    const notes: Note[] = [];
    let pitch = bar.memory.pitch ?? centre;
    for (let beat = 0; beat < bar.beats; beat++) {
      const chord = chordAt(bar, beat);
      const change = beat === 0 || chord !== chordAt(bar, beat - 1);
      if (change) pitch = nearest(chord.root, pitch);
      else if (bar.random.chance(0.45)) pitch = chordTone(chord, pitch + bar.random.pick([-5, -3, 4, 5]));
      else pitch += bar.random.pick([-2, -1, 1, 2]);
      // The instrument ends somewhere, and so does the hand's reach.
      if (pitch < centre - 9) pitch += 12;
      if (pitch > centre + 14) pitch -= 12;
      notes.push({ beat, beats: 0.9, pitch, velocity: 0.78 + 0.08 * bar.random.gauss() });
      if (bar.random.chance(0.18)) notes.push({ beat: beat + 2 / 3, beats: 0.25, pitch, velocity: 0.45 });
    }
    bar.memory.pitch = pitch;
    return notes;
  };
}

export interface Tune {
  /** Where the voice feels at home, and how far it strays from there, in semitones. */
  centre: number;
  range?: number;
  /** Rhythms of a bar to choose from: `x` note, `-` held, `.` rest. */
  rhythms: readonly string[];
  /** How likely a leap is between two notes, beside steps. */
  leap?: number;
  /** How likely an ornament is: a quick neighbour before the note. */
  ornament?: number;
  /** A second voice so many scale steps below. */
  harmony?: number;
}

/**
 * A tune: phrases of four bars (motif, answer, motif again, cadence). Rhythm and contour belong to the section and
 * come back with it; small liberties are taken every time. Strong beats fall on chord tones.
 */
export function melody({
  centre,
  range = 9,
  rhythms,
  leap = 0.18,
  ornament = 0.08,
  harmony = 0,
}: Tune): Pattern {
  return (bar) => {
    const { random, scale, index, memory } = bar;
    const role = ['motif', 'answer', 'motif', 'cadence'][index % 4]!;
    const shape = bar.motif.fork(index < 8 ? role : `${role} ${index >> 3}`);
    const steps = readGrid(shape.pick(rhythms), bar.beats);
    const direction = role === 'cadence' ? -1 : shape.pick([-1, 1]);
    let pitch = role === 'motif' || memory.pitch === undefined ? centre + shape.integer(7) - 3 : memory.pitch;
    const notes: Note[] = [];
    steps.forEach(({ beat, beats }, i) => {
      const drawn = shape.chance(leap)
        ? shape.pick([-4, -3, 3, 4])
        : shape.pick([0, 1, 1, 1, 2, -1, -1]) * direction;
      const liberty = random.chance(0.12) ? random.pick([-1, 1, 2]) : 0;
      if (random.chance(0.06) && i > 0) return;
      pitch = stepFrom(scale, pitch, drawn + liberty);
      if (pitch > centre + range) pitch = stepFrom(scale, pitch, -4);
      if (pitch < centre - range) pitch = stepFrom(scale, pitch, 4);
      const chord = chordAt(bar, beat);
      const last = i === steps.length - 1;
      if (beat % 2 < 0.01 || beats >= 1 || last) pitch = chordTone(chord, pitch);
      if (role === 'cadence' && last) pitch = nearest(chord.root, pitch);
      const long = role === 'cadence' && last ? bar.beats - beat : beats;
      const velocity = 0.72 + (beat % 1 < 0.01 ? 0.1 : 0) + 0.07 * random.gauss();
      if (random.chance(ornament) && long > 0.4) {
        notes.push({ beat, beats: 0.1, pitch: stepFrom(scale, pitch, 1), velocity: velocity * 0.7 });
        notes.push({ beat: beat + 0.1, beats: long * 0.95 - 0.1, pitch, velocity });
      } else {
        notes.push({ beat, beats: long * 0.95, pitch, velocity });
      }
      if (harmony) {
        const below = stepFrom(scale, pitch, -harmony);
        notes.push({ beat, beats: long * 0.9, pitch: below, velocity: velocity * 0.7 });
      }
    });
    memory.pitch = pitch;
    return notes;
  };
}
