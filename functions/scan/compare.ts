import type { MatchedSpan } from '../core/alignment/index.ts';
import type { Stretch } from '../core/alignment/other-speeds.ts';
import { agreementOf, REACH_MS, WAVEFORM_RATE } from '../core/alignment/waveform.ts';
import { type Calibration, confidenceOf } from '../core/confidence.ts';
import type { Reopen } from './hear-again.ts';

/** A line that is steeper than this is music at another speed, not one that was traced badly. */
const MOST_SPEED_CHANGE = 0.1;

/**
 * Compares a possible match with the recording itself, at the recording's own speed: what vectors only suspect below
 * noise, under speech or in a room, waveforms know.
 *
 * @param stretch what was heard around the span
 * @param recording opens the recording of the span's reference
 * @returns the match as the waveforms have it; `undefined` where they know no more than the vectors do
 */
export async function compared(
  span: MatchedSpan,
  stretch: Stretch,
  recording: Reopen,
  calibration: Calibration,
): Promise<MatchedSpan | undefined> {
  if (Math.abs(span.speed - 1) > MOST_SPEED_CHANGE) return undefined;
  const middleMs = (span.uploadStartMs + span.uploadEndMs) / 2;
  /** By how much the recording's time is ahead of the upload's. */
  const aheadMs = (span.referenceStartMs + span.referenceEndMs) / 2 - middleMs;
  const sound = stretch.atModelRate;
  const beside = await soundAt(
    stretch.fromMs + aheadMs - REACH_MS,
    sound.length + samples(2 * REACH_MS),
    recording,
  );
  const agreement = agreementOf(sound, beside, middleMs - stretch.fromMs);
  if (!agreement) return undefined;

  const features = { ...span.features, coherence: agreement.coherence };
  const confidence = confidenceOf(features, calibration);
  if (confidence <= span.confidence) return undefined;
  const exactlyAheadMs = aheadMs + agreement.lagMs;
  const uploadStartMs = Math.max(stretch.fromMs + agreement.fromMs, -exactlyAheadMs);
  const uploadEndMs = stretch.fromMs + agreement.toMs;
  return {
    ...span,
    uploadStartMs,
    uploadEndMs,
    referenceStartMs: uploadStartMs + exactlyAheadMs,
    referenceEndMs: uploadEndMs + exactlyAheadMs,
    speed: 1,
    confidence,
    features,
  };
}

/** So many samples of a recording from `fromMs` on; before its start and behind its end there is silence. */
async function soundAt(fromMs: number, length: number, recording: Reopen): Promise<Float32Array> {
  const sound = new Float32Array(length);
  const silent = Math.min(length, samples(Math.max(0, -fromMs)));
  const toMs = fromMs + (length * 1000) / WAVEFORM_RATE;
  if (silent < length) {
    const heard = await recording((read) => read(Math.max(0, fromMs), toMs, WAVEFORM_RATE));
    sound.set(heard.subarray(0, length - silent), silent);
  }
  return sound;
}

const samples = (ms: number): number => Math.round((ms * WAVEFORM_RATE) / 1000);
