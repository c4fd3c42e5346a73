import { describe, expect, it } from 'vitest';
import {
  excerptOf,
  type Hidden,
  kitchenSession,
  type Recordings,
  travelDiary,
} from '../../local/demo/scenario.ts';
import { Random } from '../../local/demo/synth/random.ts';
import { rmsOf, SAMPLE_RATE, samplesOf } from '../../local/demo/synth/sound.ts';

/** Stand-ins for the pieces: noise of the right length, cheap to make and like nothing else in the mix. */
const noise = (seconds: number, seed: number) => {
  const random = new Random(seed);
  let smooth = 0;
  return new Float32Array(samplesOf(seconds)).map(() => {
    smooth += 0.3 * (random.next() - 0.5 - smooth);
    return smooth;
  });
};
const RECORDINGS: Recordings = new Map([
  ['Neon Ferry', noise(70, 1)],
  ['Monsoon Market', noise(66, 2)],
  ['Foxglove Reel', noise(75, 3)],
]);

/** Cosine of what the upload says in the middle second of a hidden stretch, and what was hidden there. */
function likeness(
  upload: Float32Array,
  { title, uploadStartMs, uploadEndMs, referenceStartMs, speed }: Hidden,
  at: number,
) {
  const seconds = uploadStartMs / 1000 + at;
  expect(seconds).toBeLessThan(uploadEndMs / 1000 - 1);
  const heard = upload.subarray(samplesOf(seconds), samplesOf(seconds + 1));
  const hidden = excerptOf(RECORDINGS, {
    title,
    from: referenceStartMs / 1000 + at * speed,
    seconds: 1,
    speed,
  });
  const product = hidden.reduce((sum, x, i) => sum + x * heard[i]!, 0) / hidden.length;
  return product / (rmsOf(heard) * rmsOf(hidden));
}

describe('the upload with something to hide', () => {
  const upload = travelDiary(RECORDINGS);

  it('holds each recording where the ground truth says, at the speed it says', () => {
    expect(upload.hidden.map(({ title, speed }) => [title, speed])).toEqual([
      ['Neon Ferry', 1],
      ['Monsoon Market', 1.04],
    ]);
    for (const hidden of upload.hidden) {
      const lasts = hidden.uploadEndMs - hidden.uploadStartMs;
      expect(hidden.referenceEndMs - hidden.referenceStartMs).toBeCloseTo(lasts * hidden.speed);
      expect(likeness(upload.audio, hidden, 5)).toBeGreaterThan(0.8);
      expect(likeness(upload.audio, { ...hidden, speed: 1.02 }, 5)).toBeLessThan(0.2);
    }
  });

  it('buries the first one under a voice for its second half', () => {
    const [ferry] = upload.hidden;

    expect(likeness(upload.audio, ferry!, 4)).toBeGreaterThan(likeness(upload.audio, ferry!, 18));
  });

  it('is quiet about it before and after', () => {
    const [ferry, market] = upload.hidden;
    const before = {
      ...ferry!,
      uploadStartMs: ferry!.uploadStartMs - 2000,
      referenceStartMs: ferry!.referenceStartMs - 2000,
    };
    const after = { ...market!, uploadEndMs: 1e6 };

    expect(likeness(upload.audio, before, 0)).toBeLessThan(0.1);
    expect(likeness(upload.audio, after, 25.5)).toBeLessThan(0.1);
  });

  it('does not clip', () => {
    expect(upload.audio.length).toBe(98 * SAMPLE_RATE);
    expect(upload.audio.every((x) => Math.abs(x) < 0.99)).toBe(true);
  });
});

describe('the upload with nothing to hide', () => {
  it('plays its own tune and none of the catalogue', () => {
    const upload = kitchenSession(RECORDINGS, 'Foxglove Reel');

    expect(upload.hidden).toEqual([]);
    expect(rmsOf(upload.audio.subarray(samplesOf(20), samplesOf(40)))).toBeGreaterThan(0.1);
    expect(upload.audio.every((x) => Math.abs(x) < 0.99)).toBe(true);
  });
});

describe('an excerpt', () => {
  it('does not run over the end of its recording', () => {
    expect(() => excerptOf(RECORDINGS, { title: 'Neon Ferry', from: 60, seconds: 11, speed: 1 })).toThrow(
      'leaves the recording',
    );
    expect(() => excerptOf(RECORDINGS, { title: 'Nothing', from: 0, seconds: 1, speed: 1 })).toThrow(
      'no recording of "Nothing"',
    );
  });
});
