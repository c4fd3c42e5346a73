import FFT from 'fft.js';

// Whether two sounds are one recording, told by their waveforms: the generalised cross-correlation with phase transform
// (GCC-PHAT; Knapp & Carter, "The generalized correlation method for estimation of time delay", 1976). Every frequency
// counts the same, however loud it is, and only for its phase. The phases of one recording agree at one lag, also below
// noise, under speech and in a room; those of two recordings agree at none, however alike they sound. Five seconds hold
// some 17,000 phases, so that it stands out when few of them agree. What plays at another speed does not agree:
// vectors (`similarity.ts`) forgive more, this is sure of more.

/** Rate of the PCM that is compared, Hz. Noise and lossy coding leave little of the phases above half of it. */
export const WAVEFORM_RATE = 8_000;
/** How far off its expected place a sound is looked for: lines through few segments are a segment off at times. */
export const REACH_MS = 512;

const REACH = (REACH_MS * WAVEFORM_RATE) / 1000;
/** So near the ends of the reach, samples, is where held tones agree that are not the same. */
const EDGE = 64;
/** Blocks of a second overlap by half. */
const STEP = REACH;
const BLOCK = 2 * STEP;
const SIZE = BLOCK + 2 * REACH;
/** Below 150 Hz is rumble, and above 3,600 the edge of filters. */
const FIRST_BIN = Math.round((150 * SIZE) / WAVEFORM_RATE);
const BINS = Math.round((3_600 * SIZE) / WAVEFORM_RATE) - FIRST_BIN + 1;
/** Clocks of players and recorders differ by some millionths, by which the phases of ten seconds fade. */
const DRIFTS = [-100e-6, -66e-6, -33e-6, 33e-6, 66e-6, 100e-6];
/** Drifts are tried where the sounds agree by so much without one: by less it is chance, whatever the drift. */
const PERHAPS = 5;
/**
 * What is so much weaker than the strongest of its neighbours is nothing but the edges of the block: between the lines of a
 * hum there is no sound, and what has the phases of edges alone agrees with all that begins at once.
 */
const NEIGHBOURS = 64;
const LEAST_OF_NEIGHBOURS = 0.01;
/** Samples (RMS) that are no sound. */
const SILENCE = 1e-4;
/** A median absolute deviation in standard deviations, if the distribution is normal. */
const MEDIAN_DEVIATION = 0.6745;

/** Chance gives a coherence of 4 to 6, seldom 10. */
export const LEAST_COHERENCE = 10;
/** What is searched for a lag at once. Over more, clocks drift apart by more than is looked for. */
const EXCERPT_BLOCKS = 18;
/** Samples by which the lag may move from one block to the next. */
const MOST_MOVED = 2;
/** A block that agrees by less, in standard deviations, speaks against going on; by so much altogether, it is the end. */
const EXPECTED = 3;
const DROP = 12;

/** Where, and how well, two sounds agree. Times are of the first one. */
export interface Agreement {
  /** The correlation at its peak, in standard deviations of what it is at all other lags. */
  coherence: number;
  /** By how much the second sound is later than expected. */
  lagMs: number;
  fromMs: number;
  toMs: number;
}

const fft = new FFT(SIZE);
const hann = (length: number) =>
  Float64Array.from({ length }, (_, i) => Math.sin((Math.PI * (i + 0.5)) / length) ** 2);
const BLOCK_WINDOW = hann(BLOCK);
/** What lies near where the block is expected counts most; without a window, the edges of the surroundings would agree. */
const WINDOW = hann(SIZE);

/** A sound that is compared with others. Its own spectra are made once, in however many places it is looked for. */
export class Waveform {
  readonly #pcm: Float32Array;
  readonly #blocks: number;
  readonly #phases: Float32Array[] = [];

  /** @param pcm mono, at `WAVEFORM_RATE` */
  constructor(pcm: Float32Array) {
    this.#pcm = pcm;
    this.#blocks = Math.max(0, Math.floor((pcm.length - BLOCK) / STEP) + 1);
  }

  get durationMs(): number {
    return (this.#pcm.length * 1000) / WAVEFORM_RATE;
  }

  /**
   * Compares it with where it is expected in another sound: ten seconds in the middle for the lag at which they agree, and
   * from there on block by block to both ends, for as long as they go on together.
   *
   * @param other mono PCM at `WAVEFORM_RATE`, from `REACH_MS` before the expected place to `REACH_MS` behind its end
   * @param middleMs where in this sound the middle is
   * @returns `undefined` where they agree by chance only, and for less than a second
   */
  agreementWith(other: Float32Array, middleMs: number): Agreement | undefined {
    const count = this.#blocks;
    if (count < 1) return undefined;
    const middle = Math.round(middleMs / REACH_MS) - 1;
    const from = Math.max(0, Math.min(count, middle + EXCERPT_BLOCKS / 2) - EXCERPT_BLOCKS);
    const to = Math.min(count, from + EXCERPT_BLOCKS);
    const excerpt = Array.from({ length: to - from }, (_, i) => this.#crossPhases(from + i, other));
    const peak = peakWithDrift(excerpt);
    if (peak.coherence < LEAST_COHERENCE) return undefined;

    // From the block that agrees most to both sides.
    const agrees = excerpt.map((block, i) => peak.sign * at(block, peak.lag + peak.drift * i * STEP));
    const seed = agrees.indexOf(Math.max(...agrees));
    const lag = peak.lag + peak.drift * seed * STEP;
    const agreeing = (block: number, lag: number) =>
      block < 0 || block >= count
        ? undefined
        : nearest(excerpt[block - from] ?? this.#crossPhases(block, other), lag, peak.sign);
    const first = lastAgreeing(from + seed, -1, lag, agreeing);
    const last = lastAgreeing(from + seed, 1, lag, agreeing);
    return {
      coherence: peak.coherence,
      lagMs: ((peak.lag - REACH) * 1000) / WAVEFORM_RATE,
      // A block speaks of its middle; at the end of the sound, of all of itself.
      fromMs: first === 0 ? 0 : (first + 0.5) * REACH_MS,
      toMs: last === count - 1 ? this.durationMs : (last + 1.5) * REACH_MS,
    };
  }

  /** The phases of a block against those of its surroundings in another sound. */
  #crossPhases(block: number, other: Float32Array): Float64Array {
    const start = block * STEP;
    this.#phases[block] ??= phasesOf(this.#pcm.subarray(start, start + BLOCK), BLOCK_WINDOW);
    return against(this.#phases[block]!, phasesOf(other.subarray(start, start + SIZE), WINDOW));
  }
}

type Peak = { coherence: number; sign: number; lag: number };

/** The highest peak of all blocks together, with the drift at which it is highest. */
function peakWithDrift(blocks: readonly Float64Array[]): Peak & { drift: number } {
  const peakAt = (drift: number) => ({ ...peakOf(correlation(stacked(blocks, drift))), drift });
  const still = peakAt(0);
  return still.coherence < PERHAPS
    ? still
    : DRIFTS.map(peakAt).reduce((a, b) => (b.coherence > a.coherence ? b : a), still);
}

type Nearest = { agrees: number; lag: number };

/** The block to which the sounds go on together; the lag follows what it finds (X-drop, as in `trace.ts`). */
function lastAgreeing(
  seed: number,
  direction: 1 | -1,
  startLag: number,
  agreeing: (block: number, lag: number) => Nearest | undefined,
): number {
  let [score, best, end, lag] = [0, 0, seed, startLag];
  for (let block = seed + direction; score > best - DROP; block += direction) {
    const near = agreeing(block, lag);
    if (!near) break;
    if (near.agrees > 2 * EXPECTED) lag = near.lag;
    score += near.agrees - EXPECTED;
    if (score > best) [best, end] = [score, block];
  }
  return end;
}

/** How much a block agrees at about this lag. */
function nearest(phases: Float64Array, lag: number, sign: number): Nearest {
  let best = { agrees: Number.NEGATIVE_INFINITY, lag };
  for (let moved = -MOST_MOVED; moved <= MOST_MOVED; moved++) {
    const agrees = sign * at(phases, lag + moved);
    if (agrees > best.agrees) best = { agrees, lag: lag + moved };
  }
  return best;
}

const padded = new Float64Array(SIZE);
const spectrum = new Float64Array(2 * SIZE);

/** The spectrum of a sound, each bin of length 1; zeros where nothing is heard. Real and imaginary parts in turn, from `FIRST_BIN` on. */
function phasesOf(pcm: Float32Array, window: Float64Array): Float32Array {
  const phases = new Float32Array(2 * BINS);
  if (levelOf(pcm) < SILENCE) return phases;
  for (let i = 0; i < pcm.length; i++) padded[i] = pcm[i]! * window[i]!;
  padded.fill(0, pcm.length);
  fft.realTransform(spectrum, padded);
  const least = leastAudible(spectrum);
  for (let i = 0; i < phases.length; i += 2) {
    const real = spectrum[2 * FIRST_BIN + i]!;
    const imaginary = spectrum[2 * FIRST_BIN + i + 1]!;
    const power = real * real + imaginary * imaginary;
    if (power === 0 || power < least[groupOf(FIRST_BIN + i / 2)]!) continue;
    const scale = 1 / Math.sqrt(power);
    phases[i] = real * scale;
    phases[i + 1] = imaginary * scale;
  }
  return phases;
}

const groupOf = (bin: number): number => Math.floor(bin / NEIGHBOURS);

/** For each group of neighbouring bins the power that is more than what the edges of the block leave. */
function leastAudible(spectrum: Float64Array): Float64Array {
  const strongest = new Float64Array(groupOf(FIRST_BIN + BINS - 1) + 1);
  for (let bin = FIRST_BIN; bin < FIRST_BIN + BINS; bin++) {
    const power = spectrum[2 * bin]! ** 2 + spectrum[2 * bin + 1]! ** 2;
    if (power > strongest[groupOf(bin)]!) strongest[groupOf(bin)] = power;
  }
  return strongest.map((power, group) => {
    const beside = Math.max(strongest[group - 1] ?? 0, strongest[group + 1] ?? 0);
    return LEAST_OF_NEIGHBOURS ** 2 * Math.max(power, beside);
  });
}

/** By how much the phases of `b` are ahead of those of `a`. */
function against(a: Float32Array, b: Float32Array): Float64Array {
  const cross = new Float64Array(a.length);
  for (let i = 0; i < cross.length; i += 2) {
    cross[i] = a[i]! * b[i]! + a[i + 1]! * b[i + 1]!;
    cross[i + 1] = a[i]! * b[i + 1]! - a[i + 1]! * b[i]!;
  }
  return cross;
}

/** The sum of all blocks, each turned back by what the clocks have drifted apart until it begins. */
function stacked(blocks: readonly Float64Array[], drift: number): Float64Array {
  const sum = new Float64Array(2 * BINS);
  blocks.forEach((phases, n) => {
    addTurned(phases, drift * n * STEP, sum);
  });
  return sum;
}

/** Adds phases to a sum, each turned by what so many samples are at its frequency. */
function addTurned(phases: Float64Array, samples: number, sum: Float64Array): void {
  const turn = (2 * Math.PI * samples) / SIZE;
  const [stepReal, stepImaginary] = [Math.cos(turn), Math.sin(turn)];
  let [real, imaginary] = [Math.cos(turn * FIRST_BIN), Math.sin(turn * FIRST_BIN)];
  for (let i = 0; i < sum.length; i += 2) {
    sum[i]! += phases[i]! * real - phases[i + 1]! * imaginary;
    sum[i + 1]! += phases[i]! * imaginary + phases[i + 1]! * real;
    const next = real * stepReal - imaginary * stepImaginary;
    imaginary = real * stepImaginary + imaginary * stepReal;
    real = next;
  }
}

const folded = new Float64Array(2 * SIZE);
const unfolded = new Float64Array(2 * SIZE);

/** Back to time: how much the sounds agree at every lag from `-REACH` to `REACH`. */
function correlation(phases: Float64Array): Float64Array {
  folded.set(phases, 2 * FIRST_BIN);
  fft.inverseTransform(unfolded, folded);
  const lags = new Float64Array(2 * REACH);
  for (let i = 0; i < lags.length; i++) lags[i] = unfolded[2 * i]!;
  return lags;
}

/** The highest peak against what is usual at other lags. Upside down (`sign` -1) it is the same recording as well. */
function peakOf(correlations: Float64Array): Peak {
  const sizes = correlations.map(Math.abs);
  let highest = EDGE;
  for (let lag = EDGE; lag < sizes.length - EDGE; lag++) if (sizes[lag]! > sizes[highest]!) highest = lag;
  const deviation = sizes.toSorted()[sizes.length >> 1]! / MEDIAN_DEVIATION;
  return {
    coherence: deviation === 0 ? 0 : sizes[highest]! / deviation,
    sign: Math.sign(correlations[highest]!),
    lag: highest,
  };
}

/** The correlation of one block at one lag, in standard deviations of what chance gives. */
function at(phases: Float64Array, lag: number): number {
  const turned = new Float64Array(2 * BINS);
  addTurned(phases, lag, turned);
  let sum = 0;
  for (let i = 0; i < turned.length; i += 2) sum += turned[i]!;
  return sum / Math.sqrt(BINS / 2);
}

function levelOf(pcm: Float32Array): number {
  let power = 0;
  for (const x of pcm) power += x * x;
  return Math.sqrt(power / Math.max(1, pcm.length));
}
