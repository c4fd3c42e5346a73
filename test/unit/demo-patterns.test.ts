import { describe, expect, it } from 'vitest';
import { DRUMS } from '../../local/demo/synth/drums.ts';
import {
  arpeggio,
  type Bar,
  bass,
  drums,
  melody,
  type Pattern,
  walking,
} from '../../local/demo/synth/patterns.ts';
import { Random } from '../../local/demo/synth/random.ts';
import { readBars, readScale } from '../../local/demo/synth/theory.ts';

/** Plays a lead sheet bar by bar, as a piece does. */
function play(pattern: Pattern, sheet: string, { seed = 1, repeat = 0 } = {}) {
  const bars = readBars(sheet);
  const random = new Random(seed);
  const memory = {};
  return bars.map((chords, index) => {
    const bar: Bar = {
      index,
      bars: bars.length,
      beats: 4,
      repeat,
      chords,
      scale: readScale('C major'),
      random,
      motif: new Random(7),
      memory,
    };
    return pattern(bar);
  });
}

const SONG = 'C | Am7 | Dm7 | G7 | C | F | G | C';

describe('musicians', () => {
  it('read a grid: hits, accents, rests, and notes that are held', () => {
    const [bar] = play(bass('r--5..8-', 36), 'C');

    expect(bar!.map(({ beat, pitch }) => [beat, pitch])).toEqual([
      [0, 36],
      [1.5, 43],
      [3, 48],
    ]);
    expect(bar!.map(({ beats }) => Math.round(beats * 10) / 10)).toEqual([1.4, 0.5, 1]);
  });

  it('break chords upwards and over the octave', () => {
    const [bar] = play(arpeggio('0123', 60, 0), 'C');

    expect(bar!.map(({ pitch }) => pitch)).toEqual([55, 60, 64, 67]);
  });

  it('walk the bass from root to root, and stay on the instrument', () => {
    const sheet = Array.from({ length: 12 }, () => SONG).join(' | ');
    const notes = play(walking(38), sheet).flat();

    expect(notes.filter(({ beat }) => beat === 0).map(({ pitch }) => pitch % 12)).toEqual(
      readBars(sheet).map(([chord]) => chord!.root),
    );
    expect(Math.min(...notes.map(({ pitch }) => pitch))).toBeGreaterThanOrEqual(28);
    expect(Math.max(...notes.map(({ pitch }) => pitch))).toBeLessThanOrEqual(55);
  });

  it('play a tune that comes back, never quite the same, and ends on the root', () => {
    const tune = melody({ centre: 72, ornament: 0, rhythms: ['x-x-x---', 'x---x-x-'] });
    const first = play(tune, SONG, { seed: 1 });
    const again = play(tune, SONG, { seed: 2, repeat: 1 });
    const beatsOf = (bars: typeof first) => bars.flatMap((bar, i) => bar.map(({ beat }) => i * 4 + beat));

    const shared = beatsOf(again).filter((beat) => beatsOf(first).includes(beat));
    expect(shared.length / beatsOf(first).length).toBeGreaterThan(0.8);
    expect(again).not.toEqual(first);
    expect(first.at(-1)!.at(-1)!.pitch % 12).toBe(0);
    for (const { pitch } of first.flat()) expect(Math.abs(pitch - 72)).toBeLessThanOrEqual(14);
  });

  it('drum a fill at the end of a section, and a crash at its start', () => {
    const bars = play(drums({ kick: 'X...X...', snare: '..X...X.' }, { loose: 0 }), 'C | C | C | C');
    const drumsOf = (bar: number) => new Set(bars[bar]!.map(({ pitch }) => pitch));

    expect(drumsOf(0)).toEqual(new Set([DRUMS.kick, DRUMS.snare, DRUMS.crash]));
    expect(drumsOf(1)).toEqual(new Set([DRUMS.kick, DRUMS.snare]));
    expect(drumsOf(3)).toContain(DRUMS.lowTom);
  });
});
