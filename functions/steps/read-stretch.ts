import type { Decoder } from '../ports/decoder.ts';

/** Opening a file takes as long as decoding this much of it, ms: stretches that lie nearer are better read as one. */
export const OPENING_MS = 60_000;

/**
 * Decodes a part of a file into memory.
 * @returns mono PCM at `sampleRate`, from `fromMs` to `toMs` or to the end of the file
 * @throws RejectedAudioError as the decoder does
 */
export async function readStretch(
  decoder: Decoder,
  path: string,
  fromMs: number,
  toMs: number,
  sampleRate: number,
  signal?: AbortSignal,
): Promise<Float32Array> {
  const startSample = Math.round((fromMs * sampleRate) / 1000);
  const wanted = Math.max(0, Math.round((toMs * sampleRate) / 1000) - startSample);
  const stretch = new Float32Array(wanted);
  let filled = 0;
  const audio = await decoder.open(path, { sampleRate, startSample, ...(signal && { signal }) });
  for await (const block of audio.blocks) {
    const at = block.startSample - startSample;
    stretch.set(block.pcm.subarray(0, Math.max(0, wanted - at)), Math.min(at, wanted));
    filled = Math.min(wanted, at + block.pcm.length);
    if (filled === wanted) break;
  }
  return stretch.subarray(0, filled);
}
