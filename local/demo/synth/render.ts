import { type Effect, echo, highPass, master, reverb } from './effects.ts';
import type { Instrument } from './instruments.ts';
import type { Pattern } from './patterns.ts';
import { Random } from './random.ts';
import { mixInto, SAMPLE_RATE, samplesOf } from './sound.ts';
import { type Chord, readBars, readScale } from './theory.ts';

export interface Part {
  instrument: Instrument;
  play: Pattern;
  /** Linear, 1 = as the instrument comes. */
  gain: number;
  /** How much of the part goes into the room and into the echo, 0..1. */
  reverb?: number;
  echo?: number;
  effects?: readonly Effect[];
}

export interface Section {
  /** Lead sheet: bars parted by `|`. */
  chords: string;
  /** Names of the parts that play. */
  parts: string;
  /** Linear, default 1. */
  level?: number;
}

export interface Piece {
  title: string;
  artist: string;
  genre: string;
  seed: number;
  bpm: number;
  /** Beats per bar. */
  beats: number;
  key: string;
  /** Names of sections, in order. */
  form: string;
  sections: Record<string, Section>;
  parts: Record<string, Part>;
  room: { size: number; decay: number };
  /** Beats between echoes, and how much of one is in the next. */
  echo?: { beats: number; feedback: number };
  /** How far hands stray from the grid, in seconds. */
  looseness?: number;
}

/** One bar of the piece as it will be played. */
interface PlannedBar {
  section: string;
  index: number;
  bars: number;
  repeat: number;
  chords: readonly Chord[];
  startSeconds: number;
  secondsPerBeat: number;
}

const LEAD_IN_SECONDS = 0.15;
const TAIL_SECONDS = 2.5;

/** Lays the form out in time. The tempo breathes by some tenths of a per cent from bar to bar, as it does with people. */
function plan(piece: Piece, random: Random): PlannedBar[] {
  const played = new Map<string, number>();
  const bars: PlannedBar[] = [];
  let startSeconds = LEAD_IN_SECONDS;
  for (const section of piece.form.split(' ')) {
    const sheet = readBars(sectionOf(piece, section).chords);
    const repeat = played.get(section) ?? 0;
    played.set(section, repeat + 1);
    sheet.forEach((chords, index) => {
      const secondsPerBeat = (60 / piece.bpm) * (1 + 0.003 * random.gauss());
      bars.push({ section, index, bars: sheet.length, repeat, chords, startSeconds, secondsPerBeat });
      startSeconds += secondsPerBeat * piece.beats;
    });
  }
  return bars;
}

function sectionOf(piece: Piece, name: string): Section {
  const section = piece.sections[name];
  if (!section) throw new RangeError(`${piece.title} has no section "${name}"`);
  return section;
}

/** Plays a piece: mono at SAMPLE_RATE, peaks below -1 dBFS. The same piece gives the same samples every time. */
export function render(piece: Piece): Float32Array {
  const random = new Random(piece.seed);
  const scale = readScale(piece.key);
  const bars = plan(piece, random.fork('tempo'));
  const { startSeconds, secondsPerBeat } = bars.at(-1)!;
  const length = samplesOf(startSeconds + secondsPerBeat * piece.beats + TAIL_SECONDS);
  const dry = new Float32Array(length);
  const room = new Float32Array(length);
  const echoes = new Float32Array(length);
  const bus = new Float32Array(length);
  const beats = bars.flatMap((bar) =>
    Array.from({ length: piece.beats }, (_, beat) => samplesOf(bar.startSeconds + beat * bar.secondsPerBeat)),
  );

  for (const [name, part] of Object.entries(piece.parts)) {
    bus.fill(0);
    playPart(piece, name, part, bars, scale, random.fork(name), bus);
    for (const effect of part.effects ?? []) effect(bus, beats);
    mixInto(dry, bus, 0, part.gain);
    if (part.reverb) mixInto(room, bus, 0, part.gain * part.reverb);
    if (part.echo) mixInto(echoes, bus, 0, part.gain * part.echo);
  }
  if (piece.echo) {
    const { beats, feedback } = piece.echo;
    const repeated = echo(echoes, (60 / piece.bpm) * beats, feedback);
    mixInto(dry, repeated);
    mixInto(room, repeated, 0, 0.3);
  }
  mixInto(dry, reverb(room, piece.room.size, piece.room.decay));
  highPass(28)(dry, beats);
  master(dry);
  fadeOut(dry, TAIL_SECONDS * 0.6);
  return dry;
}

function playPart(
  piece: Piece,
  name: string,
  part: Part,
  bars: readonly PlannedBar[],
  scale: ReturnType<typeof readScale>,
  random: Random,
  bus: Float32Array,
): void {
  const { looseness = 0.006 } = piece;
  const memory = {};
  for (const bar of bars) {
    const { parts, level = 1 } = sectionOf(piece, bar.section);
    if (!parts.split(' ').includes(name)) continue;
    const notes = part.play({
      ...bar,
      beats: piece.beats,
      scale,
      random,
      motif: random.fork(bar.section),
      memory,
    });
    // A section builds up a little, and comes back a little louder.
    const swell = level * (0.94 + (0.1 * bar.index) / bar.bars) * (1 + 0.03 * Math.min(bar.repeat, 2));
    for (const note of notes) {
      const seconds = bar.startSeconds + note.beat * bar.secondsPerBeat + looseness * random.gauss();
      const velocity = Math.min(1, Math.max(0.05, note.velocity * swell * (1 + 0.05 * random.gauss())));
      const start = Math.max(0, samplesOf(seconds));
      const samples = Math.max(1, samplesOf(note.beats * bar.secondsPerBeat));
      part.instrument(bus, { start, samples, pitch: note.pitch, velocity }, random);
    }
  }
}

function fadeOut(audio: Float32Array, seconds: number): void {
  const length = Math.min(audio.length, Math.round(seconds * SAMPLE_RATE));
  for (let i = 0; i < length; i++) audio[audio.length - 1 - i]! *= i / length;
}
