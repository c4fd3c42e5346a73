import type { TimeSpan } from '../core/span.ts';

export interface DecodeOptions {
  /** Rate of the PCM that comes out, Hz. */
  sampleRate: number;
  /** First sample wanted, at `sampleRate`; earlier audio is skipped (by seeking where that is exact). Default 0. */
  startSample?: number;
  signal?: AbortSignal;
}

/** Contiguous mono PCM, -1..1. `startSample` counts from the start of the file at the requested rate. */
export interface PcmBlock {
  startSample: number;
  pcm: Float32Array;
  /** Stretches of this block that could not be decoded and came out as zeros. */
  undecodable?: TimeSpan[];
}

export interface MediaInfo {
  container: string;
  codec: string;
  channels: number;
  sampleRate: number;
  /** What the header claims; absent where it claims nothing. */
  claimedDurationMs?: number;
  /** Lower-case keys: title, artist, album, isrc, ... */
  tags: Record<string, string>;
}

export interface DecodeSummary {
  /** Length of what was decoded, gaps included. */
  durationMs: number;
  /** Stretches that could not be decoded; they came out as zeros so that time stays true. */
  undecodable: TimeSpan[];
  /** The file ends before its header says it does, or in the middle of a page or packet. */
  truncated: boolean;
}

/** Blocks as they are decoded. `summary` resolves once the blocks have been read to the end. */
export interface DecodedAudio {
  info: MediaInfo;
  blocks: AsyncIterable<PcmBlock>;
  summary: Promise<DecodeSummary>;
}

export interface Decoder {
  /**
   * Decodes the main audio track of a local file. Memory stays flat whatever the length.
   * `open` and the iteration throw RejectedAudioError (codes: EMPTY_FILE, NOT_MEDIA, NO_AUDIO, TOO_LONG, TOO_LARGE,
   * UNSUPPORTED, DECODER_CRASHED, DECODE_TIMEOUT, UNDECODABLE).
   * Leaving the iteration early ends the decoder.
   */
  open(path: string, options: DecodeOptions): Promise<DecodedAudio>;
}
