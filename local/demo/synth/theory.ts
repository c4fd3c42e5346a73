/** Just enough music theory to read a lead sheet. Pitches are MIDI numbers (60 = middle C), classes are 0..11. */

const LETTERS: Record<string, number> = { C: 0, D: 2, E: 4, F: 5, G: 7, A: 9, B: 11 };

const QUALITIES: Record<string, readonly number[]> = {
  '': [0, 4, 7],
  m: [0, 3, 7],
  '5': [0, 7],
  '6': [0, 4, 7, 9],
  '7': [0, 4, 7, 10],
  m7: [0, 3, 7, 10],
  maj7: [0, 4, 7, 11],
  m9: [0, 3, 7, 10, 14],
  maj9: [0, 4, 7, 11, 14],
  '9': [0, 4, 7, 10, 14],
  '13': [0, 4, 10, 14, 21],
  sus2: [0, 2, 7],
  sus4: [0, 5, 7],
  add9: [0, 4, 7, 14],
  dim: [0, 3, 6],
  m7b5: [0, 3, 6, 10],
};

const SCALES: Record<string, readonly number[]> = {
  major: [0, 2, 4, 5, 7, 9, 11],
  minor: [0, 2, 3, 5, 7, 8, 10],
  harmonic: [0, 2, 3, 5, 7, 8, 11],
  dorian: [0, 2, 3, 5, 7, 9, 10],
  lydian: [0, 2, 4, 6, 7, 9, 11],
  mixolydian: [0, 2, 4, 5, 7, 9, 10],
  hijaz: [0, 1, 4, 5, 7, 8, 10],
  blues: [0, 3, 5, 6, 7, 10],
  pentatonic: [0, 2, 4, 7, 9],
};

export interface Chord {
  root: number;
  /** Semitones above the root. */
  tones: readonly number[];
}

export interface Scale {
  root: number;
  steps: readonly number[];
}

export const hertz = (pitch: number): number => 440 * 2 ** ((pitch - 69) / 12);

function readNote(text: string): { root: number; rest: string } {
  const match = /^([A-G])([#b]?)(.*)$/.exec(text);
  if (!match) throw new RangeError(`"${text}" does not start with a note name`);
  const shift = match[2] === '#' ? 1 : match[2] === 'b' ? 11 : 0;
  return { root: (LETTERS[match[1]!]! + shift) % 12, rest: match[3]! };
}

/** Reads a chord symbol: `Am7`, `Bb`, `F#m7b5`. */
export function readChord(symbol: string): Chord {
  const { root, rest } = readNote(symbol);
  const tones = QUALITIES[rest];
  if (!tones) throw new RangeError(`unknown chord "${symbol}"`);
  return { root, tones };
}

/** Reads a key: `A minor`, `Eb lydian`. */
export function readScale(key: string): Scale {
  const { root, rest } = readNote(key);
  const steps = SCALES[rest.trim()];
  if (!steps) throw new RangeError(`unknown scale "${key}"`);
  return { root, steps };
}

/** Reads a lead sheet: bars are parted by `|`, the chords of a bar share it evenly. */
export function readBars(sheet: string): Chord[][] {
  return sheet.split('|').map((bar) => bar.trim().split(/\s+/).map(readChord));
}

/** The pitch of this class that lies nearest to `pitch`. */
export function nearest(pitchClass: number, pitch: number): number {
  const up = (((pitchClass - pitch) % 12) + 12) % 12;
  return pitch + (up > 6 ? up - 12 : up);
}

/** The chord's tones, each as near to `centre` as it comes: close position, and smooth from chord to chord. */
export function voicing(chord: Chord, centre: number): number[] {
  const pitches = chord.tones.map((tone) => nearest((chord.root + tone) % 12, centre));
  return [...new Set(pitches)].sort((a, b) => a - b);
}

/** The tone of the chord nearest to `pitch`. */
export function chordTone(chord: Chord, pitch: number): number {
  return voicing(chord, pitch).reduce((best, tone) =>
    Math.abs(tone - pitch) < Math.abs(best - pitch) ? tone : best,
  );
}

/** `steps` scale steps up (or down) from the scale tone nearest to `pitch`. */
export function stepFrom(scale: Scale, pitch: number, steps: number): number {
  const size = scale.steps.length;
  const octave = Math.floor((pitch - scale.root) / 12);
  let degree = 0;
  for (let i = 0; i < size; i++) if (scale.steps[i]! <= pitch - scale.root - octave * 12) degree = i;
  const target = degree + steps;
  const turn = Math.floor(target / size);
  return scale.root + (octave + turn) * 12 + scale.steps[target - turn * size]!;
}
