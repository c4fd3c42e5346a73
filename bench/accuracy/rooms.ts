import { RATE } from './audio.ts';
import type { Random } from './random.ts';

const SPEED_OF_SOUND = 343;

/**
 * The response of a shoebox room to a click (image sources, Allen & Berkley 1979), with a random size, source and
 * microphone, in which sound decays by 60 dB in `rt60` seconds.
 * The direct sound stands at time zero, so that time stays true.
 */
export function roomResponse(rt60: number, random: Random): Float32Array {
  const size = [random.between(3.5, 8), random.between(3, 7), random.between(2.4, 3.5)];
  const place = () => size.map((length) => random.between(0.15, 0.85) * length);
  const [source, microphone] = [place(), place()];

  const volume = size[0]! * size[1]! * size[2]!;
  const surface = 2 * (size[0]! * size[1]! + size[1]! * size[2]! + size[0]! * size[2]!);
  const reflection = Math.exp((-0.161 * volume) / (2 * surface * rt60));

  const axes = size.map((length, axis) => images(length, source[axis]!, microphone[axis]!, rt60, reflection));
  const [xs, ys, zs] = axes as [Image[], Image[], Image[]];
  const direct = Math.hypot(...source.map((x, axis) => x - microphone[axis]!));
  const response = new Float32Array(Math.ceil(rt60 * RATE));
  for (const x of xs) {
    for (const y of ys) {
      const xy = x.distance ** 2 + y.distance ** 2;
      for (const z of zs) {
        const distance = Math.sqrt(xy + z.distance ** 2);
        const sample = Math.round(((distance - direct) / SPEED_OF_SOUND) * RATE);
        if (sample >= 0 && sample < response.length) {
          response[sample]! += (x.strength * y.strength * z.strength * direct) / distance;
        }
      }
    }
  }
  return corrected(response, rt60);
}

interface Image {
  distance: number;
  strength: number;
}

/**
 * Eyring's formula is for diffuse sound; in an empty box the decay comes out slower. Measured as room acoustics does
 * (Schroeder's backward integral, from 5 to 25 dB below the start) and set right.
 */
function corrected(response: Float32Array, rt60: number): Float32Array {
  const measured = decayTime(response);
  return response.map((x, i) => x * 10 ** (((-3 * i) / RATE) * (1 / rt60 - 1 / measured)));
}

/** Seconds in which sound decays by 60 dB (T20). */
export function decayTime(response: Float32Array): number {
  const left = new Float64Array(response.length + 1);
  for (let i = response.length - 1; i >= 0; i--) left[i] = left[i + 1]! + response[i]! ** 2;
  const timeAt = (db: number) => left.findIndex((energy) => 10 * Math.log10(energy / left[0]!) < db) / RATE;
  return 3 * (timeAt(-25) - timeAt(-5));
}

/** The mirror images of a source along one axis that sound reaches within `seconds`. */
function images(
  length: number,
  source: number,
  microphone: number,
  seconds: number,
  reflection: number,
): Image[] {
  const reach = Math.ceil((seconds * SPEED_OF_SOUND) / (2 * length));
  const found: Image[] = [];
  for (let n = -reach; n <= reach; n++) {
    found.push({ distance: 2 * n * length + source - microphone, strength: reflection ** Math.abs(2 * n) });
    found.push({
      distance: 2 * n * length - source - microphone,
      strength: reflection ** Math.abs(2 * n - 1),
    });
  }
  return found;
}
