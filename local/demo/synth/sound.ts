/** What every loop of the synthesiser shares. Audio is mono, -1..1. */

/** Divides evenly into the rates of fingerprint models (8 and 16 kHz), and MP3 and AAC carry it. */
export const SAMPLE_RATE = 32_000;

export const samplesOf = (seconds: number): number => Math.round(seconds * SAMPLE_RATE);

/** Tables have one more entry than their size, so that interpolation never wraps. */
export const TABLE_SIZE = 2048;

const SINE = new Float32Array(TABLE_SIZE + 1).map((_, i) => Math.sin((2 * Math.PI * i) / TABLE_SIZE));

/** Strength of harmonic `k` = 1, 2, 3, ... */
const HARMONICS = {
  saw: (k: number) => 1 / k,
  square: (k: number) => (k % 2 ? 1 / k : 0),
  pulse: (k: number) => Math.sin(Math.PI * k * 0.2) / k,
  triangle: (k: number) => (k % 2 ? (k % 4 === 1 ? 1 : -1) / (k * k) : 0),
  sine: (k: number) => (k === 1 ? 1 : 0),
  flute: (k: number) => [1, 0.42, 0.2, 0.07, 0.05, 0.02][k - 1] ?? 0,
  reed: (k: number) => (k % 2 ? 1 : 0.35) / k ** 1.15,
  organ: (k: number) => [0.8, 1, 0.7, 0.55, 0.05, 0.35, 0, 0.4, 0, 0.12, 0, 0.15][k - 1] ?? 0,
} satisfies Record<string, (k: number) => number>;

export type Wave = keyof typeof HARMONICS;

const tables = new Map<string, Float32Array>();

/** One period of a wave with no harmonic above the Nyquist frequency when it is played at `hz`. */
export function waveTable(wave: Wave, hz: number): Float32Array {
  const octave = Math.ceil(Math.log2(Math.max(hz, 20)) * 2) / 2;
  const name = `${wave} ${octave}`;
  let table = tables.get(name);
  if (!table) {
    table = new Float32Array(TABLE_SIZE + 1);
    const top = Math.max(1, Math.floor((SAMPLE_RATE * 0.47) / 2 ** octave));
    for (let k = 1; k <= top; k++) {
      const strength = HARMONICS[wave](k);
      if (strength === 0) continue;
      for (let i = 0; i <= TABLE_SIZE; i++) table[i]! += strength * SINE[(i * k) & (TABLE_SIZE - 1)]!;
    }
    const power = table.reduce((sum, x) => sum + x * x, 0) / TABLE_SIZE;
    const level = 0.5 / Math.sqrt(power);
    for (let i = 0; i <= TABLE_SIZE; i++) table[i]! *= level;
    tables.set(name, table);
  }
  return table;
}

/** sin(2 pi phase) for a phase of any size that is not negative; linear between table entries. */
export function sine(phase: number): number {
  const at = (phase - Math.floor(phase)) * TABLE_SIZE;
  const i = at | 0;
  return SINE[i]! + (at - i) * (SINE[i + 1]! - SINE[i]!);
}

/** Adds `source * gain` to `target` from sample `at` on; what lies outside of `target` is dropped. */
export function mixInto(target: Float32Array, source: Float32Array, at = 0, gain = 1): void {
  const first = Math.max(0, -at);
  const last = Math.min(source.length, target.length - at);
  for (let i = first; i < last; i++) target[at + i]! += source[i]! * gain;
}

export function rmsOf(audio: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < audio.length; i++) sum += audio[i]! * audio[i]!;
  return Math.sqrt(sum / Math.max(1, audio.length));
}

/** Scales in place so that the RMS is `level` dBFS. */
export function setLevel(audio: Float32Array, level: number): Float32Array {
  const rms = rmsOf(audio);
  if (rms === 0) return audio;
  const gain = 10 ** (level / 20) / rms;
  for (let i = 0; i < audio.length; i++) audio[i]! *= gain;
  return audio;
}
