import { z } from 'zod';

// What travels between the scan function and the embed function. PCM goes as 16-bit integers (half the bytes of
// float32, and still 90 dB above any quantisation that an upload has been through); vectors come back as float32.

export const EmbedRequest = z.object({
  modelId: z.string(),
  /** Mono PCM at the model's rate: little-endian int16, base64. */
  pcm: z.base64(),
});
export type EmbedRequest = z.infer<typeof EmbedRequest>;

export const EmbedResponse = z.object({
  modelId: z.string(),
  sha256: z.string(),
  segments: z.int().nonnegative(),
  dimension: z.int().positive(),
  /** `segments * dimension` little-endian float32 values, base64. */
  vectors: z.base64(),
});
export type EmbedResponse = z.infer<typeof EmbedResponse>;

/** A health probe: answered with the model's name once it is loaded. */
export const HealthRequest = z.object({ probe: z.literal('health') });

export function encodePcm(pcm: Float32Array): string {
  const samples = new Int16Array(pcm.length);
  for (let i = 0; i < pcm.length; i++) samples[i] = Math.round(Math.max(-1, Math.min(1, pcm[i]!)) * 32767);
  return Buffer.from(samples.buffer).toString('base64');
}

export function decodePcm(base64: string): Float32Array {
  const bytes = Buffer.from(base64, 'base64');
  const pcm = new Float32Array(bytes.length >> 1);
  for (let i = 0; i < pcm.length; i++) pcm[i] = bytes.readInt16LE(i * 2) / 32767;
  return pcm;
}

export function encodeVectors(vectors: Float32Array): string {
  return Buffer.from(vectors.buffer, vectors.byteOffset, vectors.byteLength).toString('base64');
}

export function decodeVectors(base64: string): Float32Array {
  const bytes = Uint8Array.from(Buffer.from(base64, 'base64'));
  return new Float32Array(bytes.buffer, 0, bytes.byteLength >> 2);
}
