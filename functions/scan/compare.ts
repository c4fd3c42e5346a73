import type { MatchedSpan } from '../core/alignment/index.ts';
import type { Stretch } from '../core/alignment/other-speeds.ts';
import { type Agreement, REACH_MS, WAVEFORM_RATE } from '../core/alignment/waveform.ts';
import { type Calibration, confidenceOf } from '../core/confidence.ts';
import { OPENING_MS } from '../steps/read-stretch.ts';
import type { ReadStretch, Reopen } from './hear-again.ts';

/** Of a match, so much must agree: the same drum, or a beat that a time stretch left as it was, is not the same recording. */
const LEAST_SHARE = 0.5;
/** ... and longer than a click: one that both have is in two blocks that overlap, and its phases are those of any other. */
const LEAST_MS = 1500;

/**
 * Compares what may be a match with the recording itself, at the recording's own speed: what vectors only suspect below
 * noise, under speech or in a room, waveforms know, and of places that sound alike they know the right one.
 *
 * @param places by how much the recording's time is ahead of the upload's where it may lie, ms
 * @param stretch what was heard around the span
 * @param recording opens the recording of the span's reference
 * @returns the match as the waveforms have it, at the place where they agree best; `undefined` where they do nowhere
 */
export async function compared(
  span: MatchedSpan,
  places: readonly number[],
  stretch: Stretch,
  recording: Reopen,
  calibration: Calibration,
): Promise<MatchedSpan | undefined> {
  if (places.length === 0) return undefined;
  const { waveform } = stretch;
  const middleMs = (span.uploadStartMs + span.uploadEndMs) / 2 - stretch.fromMs;
  const leastMs = Math.max(LEAST_MS, LEAST_SHARE * (span.uploadEndMs - span.uploadStartMs));
  let best: (Agreement & { aheadMs: number }) | undefined;
  const reachMs = waveform.durationMs + 2 * REACH_MS;
  await recording(async (read) => {
    for (const near of together(places, reachMs)) {
      const startMs = stretch.fromMs + near[0]! - REACH_MS;
      const heard = await soundFrom(startMs, samples(near.at(-1)! - near[0]! + reachMs), read);
      for (const aheadMs of near) {
        const at = samples(aheadMs - near[0]!);
        const agreement = waveform.agreementWith(heard.subarray(at, at + samples(reachMs)), middleMs);
        if (!agreement || agreement.toMs - agreement.fromMs < leastMs) continue;
        if (agreement.coherence <= (best?.coherence ?? 0)) continue;
        best = { ...agreement, aheadMs: aheadMs + agreement.lagMs };
      }
    }
  });
  if (!best) return undefined;

  const { coherence, aheadMs } = best;
  const features = { ...span.features, coherence };
  const uploadStartMs = Math.max(stretch.fromMs + best.fromMs, -aheadMs);
  const uploadEndMs = stretch.fromMs + best.toMs;
  return {
    ...span,
    uploadStartMs,
    uploadEndMs,
    referenceStartMs: uploadStartMs + aheadMs,
    referenceEndMs: uploadEndMs + aheadMs,
    speed: 1,
    confidence: confidenceOf(features, calibration),
    features,
  };
}

/** Places in order; those whose sound is better read at once, together. */
function together(places: readonly number[], reachMs: number): number[][] {
  const groups: number[][] = [];
  for (const place of places.toSorted((a, b) => a - b)) {
    const last = groups.at(-1);
    if (last && place - last.at(-1)! < reachMs + OPENING_MS) last.push(place);
    else groups.push([place]);
  }
  return groups;
}

/** So many samples of a recording from `fromMs` on; before its start and behind its end there is silence. */
async function soundFrom(fromMs: number, length: number, read: ReadStretch): Promise<Float32Array> {
  const sound = new Float32Array(length);
  const silent = Math.min(length, samples(Math.max(0, -fromMs)));
  const toMs = fromMs + (length * 1000) / WAVEFORM_RATE;
  if (silent < length) {
    const heard = await read(Math.max(0, fromMs), toMs, WAVEFORM_RATE);
    sound.set(heard.subarray(0, length - silent), silent);
  }
  return sound;
}

const samples = (ms: number): number => Math.round((ms * WAVEFORM_RATE) / 1000);
