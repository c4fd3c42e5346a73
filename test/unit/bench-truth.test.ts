import { describe, expect, it } from 'vitest';
import { convolved, RATE } from '../../bench/accuracy/audio.ts';
import { bestPlaceOf } from '../../bench/accuracy/chromaprint.ts';
import { CONDITIONS } from '../../bench/accuracy/conditions.ts';
import { Random } from '../../bench/accuracy/random.ts';
import { type Piece, piecesIn, piecesOf, type Query, type Recipe } from '../../bench/accuracy/render.ts';
import { decayTime, roomResponse } from '../../bench/accuracy/rooms.ts';
import { likeness, SAME, viewOf } from '../../bench/accuracy/same-audio.ts';
import { cellOf, judge, offsetError } from '../../bench/accuracy/score.ts';

// A bench that misjudges is worse than none: what it takes for the truth is tested here.

const track = { id: 'a/song.ogg', package: 'a', path: '/music/song.ogg', seconds: 200 };
const recipe = (steps: Recipe['steps']): Recipe => ({
  renderer: 1,
  split: 'validation',
  id: 'x/000',
  condition: 'x',
  source: { kind: 'track', track, startSeconds: 50, seconds: 40 },
  steps,
  cuts: [],
});
const span = (uploadStart: number, uploadEnd: number, referenceStart: number, referenceEnd: number) => ({
  uploadStartMs: uploadStart * 1000,
  uploadEndMs: uploadEnd * 1000,
  referenceStartMs: referenceStart * 1000,
  referenceEndMs: referenceEnd * 1000,
  confidence: 0.99,
});

describe('what a recipe holds', () => {
  it('a sped-up excerpt is shorter, and the reference passes faster in it', () => {
    const [piece] = piecesOf(recipe([{ do: 'speed', factor: 1.25 }]));

    expect(piece).toEqual({ start: 0, end: 32, reference: 50, speed: 1.25 });
  });

  it('a cut from its inside begins later in the reference', () => {
    const pieces = piecesOf(recipe([{ do: 'stretch', tempo: 0.8, pitch: 1, fine: true }]));

    const inside = piecesIn(pieces, { seconds: 5, at: 10 });

    expect(inside).toEqual([{ start: 0, end: 5, reference: 58, speed: 0.8 }]);
  });

  it('jump cuts leave out half a second to one and a half between pieces of one and a half to three', () => {
    const pieces = piecesOf(recipe([{ do: 'jumpCuts', seed: 7 }]));

    const lengths = pieces.map(({ start, end }) => end - start);
    const leftOut = pieces.slice(1).map((piece, i) => piece.reference - pieces[i]!.reference - lengths[i]!);
    expect(pieces.length).toBeGreaterThan(8);
    expect(Math.min(...lengths)).toBeGreaterThanOrEqual(1.5);
    expect(Math.max(...lengths)).toBeLessThanOrEqual(3);
    expect(Math.min(...leftOut)).toBeGreaterThanOrEqual(0.5 - 1e-9);
    expect(Math.max(...leftOut)).toBeLessThanOrEqual(1.5 + 1e-9);
  });

  it('the same seed draws the same steps, another one others', () => {
    const draw = (seed: number) => CONDITIONS.map(({ steps }) => steps(new Random('t', seed), 'test'));

    expect(draw(1)).toEqual(draw(1));
    expect(draw(1)).not.toEqual(draw(2));
  });
});

describe('the error of an offset', () => {
  const whole: Piece[] = [{ start: 0, end: 10, reference: 30, speed: 1 }];

  it('is the distance of the lines, not of their ends', () => {
    expect(offsetError(span(2, 8, 32, 38), whole)).toBeCloseTo(0);
    expect(offsetError(span(2, 8, 32.4, 38.4), whole)).toBeCloseTo(0.4);
  });

  it('follows the cuts of an excerpt that was cut up', () => {
    const cut: Piece[] = [
      { start: 0, end: 2, reference: 30, speed: 1 },
      { start: 2, end: 10, reference: 33, speed: 1 },
    ];

    expect(offsetError(span(0, 2, 30, 32), cut)).toBeCloseTo(0);
    expect(offsetError(span(2, 10, 32, 40), cut)).toBeCloseTo(1);
  });

  it('is infinite where the span lies outside', () => {
    expect(offsetError(span(11, 12, 41, 42), whole)).toBe(Number.POSITIVE_INFINITY);
  });
});

describe('right and wrong', () => {
  // Ten different seconds of noise, the first five of which come again at 20 s; a second track holds none of it.
  const noise = (seed: string, seconds: number) => {
    const random = new Random(seed);
    // Bursts of changing pitch: what happens inside the spectrum tells one stretch from another.
    const out = new Float32Array(seconds * RATE);
    for (let start = 0; start < out.length; start += RATE / 5) {
      const frequencies = Array.from({ length: 4 }, () => random.between(200, 4000));
      for (let i = start; i < Math.min(out.length, start + RATE / 5); i++) {
        for (const f of frequencies) out[i]! += 0.1 * Math.sin((2 * Math.PI * f * i) / RATE);
      }
    }
    return out;
  };
  const song = noise('song', 30);
  song.copyWithin(20 * RATE, 0, 5 * RATE);
  const views = new Map([
    [track.id, viewOf(song)],
    ['b/other.ogg', viewOf(noise('other', 30))],
    ['b/copy.ogg', viewOf(song)],
  ]);
  const viewOfTrack = async (id: string) => views.get(id);
  const query: Query = {
    id: 'q',
    condition: 'clean',
    seconds: 5,
    path: '',
    track,
    pieces: [{ start: 0, end: 5, reference: 0, speed: 1 }],
  };
  const found = (referenceId: string, at: number) => [
    { referenceId, confidence: 0.99, spans: [span(0, 5, at, at + 5)] },
  ];

  it('the right place is right', async () => {
    const [judged] = await judge(query, found(track.id, 0.2), viewOfTrack);

    expect(judged).toMatchObject({ track: true, offset: true, elsewhere: false });
  });

  it('a repeated passage is right, and said to be elsewhere', async () => {
    const [judged] = await judge(query, found(track.id, 20), viewOfTrack);

    expect(judged).toMatchObject({ track: true, offset: true, elsewhere: true });
  });

  it('another place of the right track is the right track only', async () => {
    const [judged] = await judge(query, found(track.id, 10), viewOfTrack);

    expect(judged).toMatchObject({ track: true, offset: false });
  });

  it('another track is wrong, unless it is the same recording', async () => {
    const [other] = await judge(query, found('b/other.ogg', 0), viewOfTrack);
    const [copy] = await judge(query, found('b/copy.ogg', 0), viewOfTrack);

    expect(other).toMatchObject({ track: false, offset: false });
    expect(copy).toMatchObject({ track: true, offset: true });
  });

  it('a cell counts a query as wrong even when the right track is also named', async () => {
    const both = await judge(query, [...found(track.id, 0), ...found('b/other.ogg', 0)], viewOfTrack);

    expect(cellOf([both, []])).toMatchObject({ queries: 2, track: 0.5, offset: 0.5, wrong: 0.5 });
  });

  it('the same fade in two different pieces is not the same audio', () => {
    const faded = (seed: string) => noise(seed, 12).map((x, i) => x * Math.max(0, 1 - i / (6 * RATE)));

    const alike = likeness(viewOf(faded('one')), 1, viewOf(faded('two')), 1, 8);

    expect(alike).toBeLessThan(SAME - 0.2);
  });
});

describe('a room', () => {
  it('decays by 60 dB in the time that was asked for, and does not delay', () => {
    for (const seconds of [0.5, 1]) {
      const response = roomResponse(seconds, new Random('room', seconds));

      expect(response[0]).toBeCloseTo(1);
      expect(decayTime(response)).toBeGreaterThan(0.85 * seconds);
      expect(decayTime(response)).toBeLessThan(1.15 * seconds);
    }
  });

  it('a decay is measured: 60 dB a second is 60 dB a second', () => {
    const random = new Random('decay');
    const decaying = Float32Array.from({ length: RATE }, (_, i) => random.normal() * 10 ** ((-3 * i) / RATE));

    expect(decayTime(decaying)).toBeCloseTo(1, 1);
  });

  it('convolution in blocks is convolution', () => {
    const pcm = Float32Array.from({ length: 40_000 }, (_, i) => Math.sin(i * 0.37) * (i % 7));
    const response = Float32Array.of(0.5, 0, -0.25, 0.125);

    const out = convolved(pcm, response);

    const expected = (i: number) => 0.5 * pcm[i]! - 0.25 * pcm[i - 2]! + 0.125 * pcm[i - 3]!;
    for (const i of [3, 16_383, 16_384, 39_999]) expect(out[i]).toBeCloseTo(expected(i), 4);
  });
});

describe('Chromaprint as a peer', () => {
  const random = new Random('fingerprints');
  const items = Uint32Array.from({ length: 400 }, () => random.below(2 ** 32));
  const silence = new Uint32Array(100).fill(627_964_279);
  const references = [
    { id: 'other', items: items.toReversed() },
    { id: 'song', items: Uint32Array.of(...items, ...silence) },
  ];

  it('finds where an excerpt was taken from, and how many bits of it are wrong', () => {
    const query = items.slice(100, 140).map((item, i) => (item ^ (i % 2 === 0 ? 1 : 0)) >>> 0);

    const [found] = bestPlaceOf(query, references);

    expect(found).toMatchObject({ referenceId: 'song', confidence: 1 - 2 / 64 });
    expect(found!.spans[0]!.referenceStartMs).toBeCloseTo((100 * 1_365_000) / 11_025);
  });

  it('does not look for silence, which is the same everywhere', () => {
    expect(bestPlaceOf(silence.subarray(0, 40), references)).toEqual([]);
  });
});
