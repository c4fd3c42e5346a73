import { RATE } from './audio.ts';
import type { Random } from './random.ts';

const SPEED_OF_SOUND = 343;

/**
 * The response of a shoebox room to a click (image sources, Allen & Berkley 1979), with a random size, source and
 * microphone, whose walls absorb so much that the sound decays by 60 dB in `rt60` seconds (Eyring).
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
  return response;
}

interface Image {
  distance: number;
  strength: number;
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
