import { fft, RATE } from './audio.ts';

// Which stretches of music are the same recording? Decided by content, with plain spectra and nothing of the model,
// to find the same track in two packages, and to score loops and repeated passages: every place where the same
// audio stands is a right answer.

/** Grows whenever what follows would judge differently. */
export const SIEVE = 2;

/** Views per second. */
export const VIEW_RATE = 8;
const BANDS = 24;
const [LOWEST_HZ, HIGHEST_HZ] = [150, 6500];
const FFT_SIZE = 8192;

/** Log band powers: row `t` (BANDS values) speaks of the time `t / VIEW_RATE` seconds. */
export interface View {
  frames: number;
  bands: Float32Array;
}

const HANN = Float64Array.from(
  { length: FFT_SIZE },
  (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / FFT_SIZE),
);

export function viewOf(pcm: Float32Array): View {
  const hop = RATE / VIEW_RATE;
  const frames = Math.max(0, Math.floor((pcm.length - FFT_SIZE) / hop) + 1);
  const bands = new Float32Array(frames * BANDS);
  const edges = Array.from({ length: BANDS + 1 }, (_, b) =>
    Math.round((LOWEST_HZ * (HIGHEST_HZ / LOWEST_HZ) ** (b / BANDS) * FFT_SIZE) / RATE),
  );
  const [re, im] = [new Float64Array(FFT_SIZE), new Float64Array(FFT_SIZE)];
  for (let t = 0; t < frames; t += 2) {
    // Two real frames in one complex FFT: the second as the imaginary part.
    const [first, second] = [Math.round(t * hop), Math.round(Math.min(t + 1, frames - 1) * hop)];
    for (let i = 0; i < FFT_SIZE; i++) {
      re[i] = pcm[first + i]! * HANN[i]!;
      im[i] = pcm[second + i]! * HANN[i]!;
    }
    fft(re, im);
    for (let b = 0; b < BANDS; b++) {
      let [p1, p2] = [0, 0];
      const end = Math.max(edges[b]! + 1, edges[b + 1]!);
      for (let k = edges[b]!; k < end; k++) {
        const m = FFT_SIZE - k;
        p1 += (re[k]! + re[m]!) ** 2 + (im[k]! - im[m]!) ** 2;
        p2 += (im[k]! + im[m]!) ** 2 + (re[m]! - re[k]!) ** 2;
      }
      bands[t * BANDS + b] = Math.log10(p1 + 1e-4);
      if (t + 1 < frames) bands[(t + 1) * BANDS + b] = Math.log10(p2 + 1e-4);
    }
  }
  return { frames, bands };
}

/**
 * `frames` rows from `start` as one vector of unit length, without the mean of each frame and of each band: level,
 * fades and equalisation drop out, what happens inside the spectrum stays. Nearly constant stretches come out short,
 * so that they resemble nothing.
 */
export function patch(view: View, start: number, frames: number): Float32Array {
  const out = view.bands.slice(start * BANDS, (start + frames) * BANDS);
  // What lies 50 dB below the loudest is not heard.
  const floor = out.reduce((a, b) => Math.max(a, b), -10) - 5;
  const bandMeans = new Float64Array(BANDS);
  for (let t = 0; t < frames; t++) {
    let mean = 0;
    for (let b = 0; b < BANDS; b++) {
      const i = t * BANDS + b;
      out[i] = Math.max(out[i]!, floor);
      mean += out[i]! / BANDS;
    }
    for (let b = 0; b < BANDS; b++) {
      out[t * BANDS + b]! -= mean;
      bandMeans[b]! += out[t * BANDS + b]! / frames;
    }
  }
  let square = 0;
  for (let i = 0; i < out.length; i++) {
    out[i]! -= bandMeans[i % BANDS]!;
    square += out[i]! ** 2;
  }
  // Deviations of less than 1 dB are next to nothing.
  const scale = 1 / Math.max(Math.sqrt(square), 0.1 * Math.sqrt(out.length));
  for (let i = 0; i < out.length; i++) out[i]! *= scale;
  return out;
}

const dot = (a: Float32Array, b: Float32Array): number => {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
};

/** Correlation above which two stretches count as the same audio. */
export const SAME = 0.85;

/**
 * How alike two stretches are, 0..1, at the best of the alignments within `slackSeconds`. 1 is the same recording.
 * Stretches that reach over an end are shortened; below 2 s nothing is said (0).
 */
export function likeness(
  a: View,
  aSeconds: number,
  b: View,
  bSeconds: number,
  seconds: number,
  slackSeconds = 0.5,
): number {
  let best = 0;
  const slack = Math.round(slackSeconds * VIEW_RATE);
  for (let lag = -slack; lag <= slack; lag++) {
    let from = Math.round(aSeconds * VIEW_RATE);
    let to = from + Math.round(seconds * VIEW_RATE);
    const shift = Math.round(bSeconds * VIEW_RATE) + lag - from;
    from = Math.max(from, 0, -shift);
    to = Math.min(to, a.frames, b.frames - shift);
    if (to - from < 2 * VIEW_RATE) continue;
    best = Math.max(best, dot(patch(a, from, to - from), patch(b, from + shift, to - from)));
  }
  return best;
}

/** For each of `views`: how many of its 5 s pieces, taken every 8 s, occur somewhere in `other`, and the best likeness. */
export function sharedPieces(views: readonly View[], other: View): { pieces: number; best: number }[] {
  const length = 5 * VIEW_RATE;
  // Averages over half a second and three bands sort out nearly everything at a fortieth of the cost.
  const coarse: Float32Array[] = [];
  for (let start = 0; start + length <= other.frames; start += 2)
    coarse.push(pooled(patch(other, start, length)));
  return views.map((view) => {
    let [pieces, best] = [0, 0];
    for (let start = 0; start + length <= view.frames; start += 8 * VIEW_RATE) {
      const query = patch(view, start, length);
      const sketch = pooled(query);
      let piece = 0;
      for (let i = 0; i < coarse.length; i++) {
        if (dot(sketch, coarse[i]!) < 0.6) continue;
        for (let at = 2 * i; at < 2 * i + 2 && at + length <= other.frames; at++) {
          piece = Math.max(piece, dot(query, patch(other, at, length)));
        }
      }
      if (piece > SAME) pieces++;
      best = Math.max(best, piece);
    }
    return { pieces, best };
  });
}

/** Averages of four frames and three bands, unit length. */
function pooled(vector: Float32Array): Float32Array {
  const out = new Float32Array(vector.length / 12);
  for (let i = 0; i < vector.length; i++) {
    const [frame, band] = [Math.floor(i / BANDS), i % BANDS];
    out[Math.floor(frame / 4) * (BANDS / 3) + Math.floor(band / 3)]! += vector[i]!;
  }
  const scale = 1 / (Math.sqrt(dot(out, out)) || 1);
  return out.map((x) => x * scale);
}
