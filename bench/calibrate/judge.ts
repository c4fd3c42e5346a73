import type { MatchedSpan } from '../../functions/core/alignment/index.ts';
import { QUANTISED_ONE, type QuantisedVectors } from '../../functions/core/segments.ts';
import { OFFSET_TOLERANCE, offsetError } from '../accuracy/score.ts';
import type { Case } from './collect.ts';

/**
 * - `right`: the track, and its place within half a second (or a place that sounds the same: loops, repeats).
 * - `elsewhere`: the track, at another place. - `wrong`: another track.
 * - `version`: (part of) the same recording under another name: neither right nor wrong.
 */
export type Judgement = 'right' | 'elsewhere' | 'version' | 'wrong';

/** Stored segments this similar, along the whole span, are the same music. */
const SAME_MUSIC = 0.85;

export function judge(
  span: MatchedSpan,
  query: Case,
  stored: ReadonlyMap<string, QuantisedVectors>,
  hopSeconds: number,
): Judgement {
  if (span.referenceId !== query.track && query.track && isVersion(span.referenceId, query.track))
    return 'version';
  if (span.referenceId !== query.track || query.pieces.length === 0) return 'wrong';
  if (offsetError(span, query.pieces) <= OFFSET_TOLERANCE) return 'right';
  const middle = (span.uploadStartMs + span.uploadEndMs) / 2000;
  const claimed = (span.referenceStartMs + span.referenceEndMs) / 2000;
  const piece = query.pieces.findLast(({ start }) => start <= middle) ?? query.pieces[0]!;
  const shift = Math.round((claimed - piece.reference - piece.speed * (middle - piece.start)) / hopSeconds);
  const from = span.referenceStartMs / 1000 / hopSeconds;
  const to = span.referenceEndMs / 1000 / hopSeconds - 3;
  return soundsTheSame(stored.get(span.referenceId)!, from, to, shift) ? 'right' : 'elsewhere';
}

/**
 * SuperTuxKart plays a track's last lap to the same recording, sped up: `farm.ogg`, `farm_f.ogg`. Two UFO:AI tracks
 * share a sample (their spectra correlate by 0.72 at one minute in, unrelated ones by 0.2 at most).
 */
const isVersion = (a: string, b: string): boolean =>
  originalOf(a) === originalOf(b) || [a, b].every((id) => SHARED_SAMPLE.test(id));
const originalOf = (id: string): string => id.replace(/[-_]f(ast)?(?=\.\w+$)/i, '');
const SHARED_SAMPLE = /(MarineBacktheAttack|MarineUrbanWarfare)\.ogg$/;

function soundsTheSame(
  { segments, vectors }: QuantisedVectors,
  from: number,
  to: number,
  shift: number,
): boolean {
  const dimension = vectors.length / segments.length;
  const rowOf = new Map([...segments].map((segment, row) => [segment, row]));
  let [sum, count] = [0, 0];
  for (let segment = Math.round(from); segment <= to; segment++) {
    const [a, b] = [rowOf.get(segment), rowOf.get(segment - shift)];
    if (a === undefined || b === undefined) continue;
    for (let d = 0; d < dimension; d++) sum += vectors[a * dimension + d]! * vectors[b * dimension + d]!;
    count++;
  }
  return count > 0 && sum / count >= SAME_MUSIC * QUANTISED_ONE ** 2;
}
