/**
 * Half the length of the filter, samples of the input. Up to three quarters of the band nothing else is heard but the
 * music (50 dB below it); above, where music has little, the filter closes slowly. Each sample more costs 6 % of a pass.
 */
const REACH = 8;

/** Where the filter begins to close, as a share of the narrower band, and how its edge trades width for depth. */
const CUT_OFF = 0.94;
const KAISER_BETA = 4;

/**
 * Slows PCM down by a factor, as a tape would: at 1.18, a second of input becomes 1.18 s of output, and sounds as much
 * lower. It undoes an upload that is 1.18 times too fast. A polyphase filter on one grid: output sample `n` lies at input sample `n / speed`, whatever stretch
 * it is asked for in, so that stretches join without a seam.
 */
export class Varispeed {
  /** Input and output samples in one period of the filter. */
  readonly #period: { input: number; output: number };
  /** `2 * REACH` weights for each output sample of a period. */
  readonly #weights: Float32Array;

  /** @param speed how much too fast the input is; rounded to a hundredth of a per cent */
  constructor(speed: number) {
    this.#period = fraction(speed);
    this.#weights = weightsOf(this.#period);
  }

  /** How many samples `samples` of the input become. */
  lengthOf(samples: number): number {
    return Math.round((samples * this.#period.output) / this.#period.input);
  }

  /** The input that an output stretch is made of. Reaches beyond both ends of the recording, where silence belongs. */
  inputFor(start: number, samples: number): { start: number; samples: number } {
    const first = this.#inputBefore(start) - REACH + 1;
    return { start: first, samples: this.#inputBefore(start + samples - 1) + REACH + 1 - first };
  }

  /**
   * @param input what `inputFor` asks for
   * @param start the first output sample
   * @param samples how many
   */
  play(input: Float32Array, start: number, samples: number): Float32Array {
    const { input: step, output: phases } = this.#period;
    const weights = this.#weights;
    const whole = Math.floor(step / phases);
    const part = step % phases;
    const output = new Float32Array(samples);
    let at = 0;
    let phase = (start * step) % phases;
    for (let n = 0; n < samples; n++) {
      // Four sums at once: this loop is where the time goes.
      let a = 0;
      let b = 0;
      let c = 0;
      let d = 0;
      let i = at;
      const end = (phase + 1) * 2 * REACH;
      for (let w = end - 2 * REACH; w < end; w += 4, i += 4) {
        a += weights[w]! * input[i]!;
        b += weights[w + 1]! * input[i + 1]!;
        c += weights[w + 2]! * input[i + 2]!;
        d += weights[w + 3]! * input[i + 3]!;
      }
      output[n] = a + b + c + d;
      at += whole;
      phase += part;
      if (phase >= phases) {
        phase -= phases;
        at++;
      }
    }
    return output;
  }

  #inputBefore(outputSample: number): number {
    return Math.floor((outputSample * this.#period.input) / this.#period.output);
  }
}

/** A windowed sinc for each of the places between two input samples where an output sample may lie. */
function weightsOf({ input, output }: { input: number; output: number }): Float32Array {
  const band = CUT_OFF * Math.min(1, output / input);
  const weights = new Float32Array(output * 2 * REACH);
  for (let phase = 0; phase < output; phase++) {
    const row = weights.subarray(phase * 2 * REACH, (phase + 1) * 2 * REACH);
    for (let i = 0; i < row.length; i++) {
      const distance = i - REACH + 1 - phase / output;
      row[i] = sinc(band * distance) * kaiser(distance / REACH);
    }
    const sum = row.reduce((total, weight) => total + weight, 0);
    for (let i = 0; i < row.length; i++) row[i]! /= sum;
  }
  return weights;
}

const sinc = (x: number): number => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));

const kaiser = (x: number): number =>
  Math.abs(x) >= 1 ? 0 : bessel(KAISER_BETA * Math.sqrt(1 - x * x)) / bessel(KAISER_BETA);

/** Modified Bessel function of the first kind, order 0. */
function bessel(x: number): number {
  let sum = 1;
  for (let term = 1, k = 1; term > 1e-9 * sum; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}

function fraction(speed: number): { input: number; output: number } {
  const [output, input] = [Math.round(speed * 10_000), 10_000];
  const common = greatestCommonDivisor(output, input);
  return { input: input / common, output: output / common };
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
