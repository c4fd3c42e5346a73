import { readSync } from 'node:fs';
import {
  AV_CODEC_ID_NONE,
  AV_DISPOSITION_COMMENT,
  AV_DISPOSITION_DEFAULT,
  AV_DISPOSITION_HEARING_IMPAIRED,
  AV_DISPOSITION_VISUAL_IMPAIRED,
  AVDISCARD_ALL,
  AVERROR_ENOMEM,
  AVMEDIA_TYPE_AUDIO,
} from 'node-av/constants';
import { avGetCodecName, Codec, CodecContext, Dictionary, FormatContext, type Stream } from 'node-av/lib';
import { RejectedAudioError } from '../../core/errors.ts';
import type { MediaInfo } from '../../ports/decoder.ts';
import { type Bytes, isCutOff, movieDurationMs, xingOf } from './cut-off.ts';
import type { DecodeJob } from './messages.ts';

/**
 * Containers that are opened. Whatever may name other files or addresses (HLS, DASH, concat, SDP, image sequences)
 * or make up its own content (lavfi) is not among them.
 */
const CONTAINERS = ['mp3', 'mov', 'ogg', 'flac', 'wav', 'w64', 'aiff', 'caf', 'aac', 'matroska'];

/** Decoders that may run. Pictures are never decoded, not even to learn their size. */
const DECODERS = [
  ...[
    'mp3float',
    'mp3',
    'mp2float',
    'mp2',
    'mp1float',
    'aac',
    'aac_latm',
    'opus',
    'libopus',
    'vorbis',
    'libvorbis',
  ],
  ...['flac', 'alac', 'ac3', 'eac3', 'dca', 'amrnb', 'amrwb', 'adpcm_ms', 'adpcm_ima_wav', 'adpcm_ima_qt'],
  ...['pcm_alaw', 'pcm_mulaw', 'pcm_u8', 'pcm_s8', 'pcm_s16le', 'pcm_s16be', 'pcm_u16le', 'pcm_u16be'],
  ...['pcm_s24le', 'pcm_s24be', 'pcm_s32le', 'pcm_s32be', 'pcm_s64le', 'pcm_f32le', 'pcm_f32be', 'pcm_f64le'],
  ...['pcm_f64be', 'pcm_lxf', 'pcm_s16le_planar', 'pcm_s16be_planar'],
];

/** Containers whose duration is written in a header, not guessed from the bit rate. */
const STATES_DURATION = new Set(['mov', 'matroska', 'flac', 'wav', 'w64', 'aiff', 'caf']);

export interface MediaFile {
  format: FormatContext;
  stream: Stream;
  decoder: CodecContext;
  info: MediaInfo;
  /** How long the header says the track is; `undefined` where it says nothing of this track. */
  statedMs: number | undefined;
  cutOff: boolean;
}

/**
 * Opens the file behind a descriptor and the decoder of its main audio track. FFmpeg sees no path and may use no
 * protocol but this descriptor.
 * @throws RejectedAudioError
 */
export function openMedia(fd: number, job: DecodeJob): MediaFile {
  const bytes: Bytes = {
    size: job.bytes,
    read: (offset, length) => {
      const buffer = Buffer.alloc(length);
      return buffer.subarray(0, readSync(fd, buffer, 0, length, offset));
    },
  };
  const format = openContainer(fd, bytes);
  if (format.nbStreams > job.maxStreams) {
    throw new RejectedAudioError(
      'UNSUPPORTED',
      `the file has ${format.nbStreams} tracks; at most ${job.maxStreams} are accepted`,
    );
  }
  for (const stream of format.streams) {
    if (stream.codecpar.codecType !== AVMEDIA_TYPE_AUDIO) stream.discard = AVDISCARD_ALL;
  }
  // A failure here is judged below, by what became known of the tracks.
  format.findStreamInfoSync();

  const container = containerOf(format);
  const { stream, codec } = mainTrack(format);
  for (const other of format.streams) if (other.index !== stream.index) other.discard = AVDISCARD_ALL;

  const { sampleRate, channels } = stream.codecpar;
  if (sampleRate > job.maxSampleRate || channels > job.maxChannels) {
    throw new RejectedAudioError(
      'UNSUPPORTED',
      `the audio has ${channels} channels at ${sampleRate} Hz; at most ${job.maxChannels} channels at ` +
        `${job.maxSampleRate} Hz are accepted`,
    );
  }
  const claimedDurationMs = claimedDuration(format, stream, container, bytes);
  return {
    format,
    stream,
    decoder: openDecoder(codec, stream),
    info: {
      container,
      codec: avGetCodecName(stream.codecpar.codecId) ?? 'unknown',
      channels,
      sampleRate,
      ...(claimedDurationMs === undefined ? {} : { claimedDurationMs }),
      tags: tagsOf(format, stream),
    },
    statedMs: statedDuration(format, stream, claimedDurationMs, job),
    cutOff: isCutOff(bytes, container),
  };
}

function openContainer(fd: number, bytes: Bytes): FormatContext {
  const format = new FormatContext();
  const opened = format.openInputSync(
    'fd:',
    null,
    Dictionary.fromObject({
      fd,
      protocol_whitelist: 'fd',
      format_whitelist: CONTAINERS.join(','),
      codec_whitelist: DECODERS.join(','),
    }),
  );
  if (opened >= 0) return format;
  if (opened === AVERROR_ENOMEM) throw outOfMemory();
  const kind = kindOf(bytes);
  if (kind === undefined) {
    throw new RejectedAudioError(
      'NOT_MEDIA',
      'this is no audio or video file that can be read: MP3, AAC, M4A, Ogg, Opus, FLAC, WAV, AIFF, CAF, MP4, MOV, MKV or WebM',
    );
  }
  const without = kind === 'MP4' ? ' without its index (moov)' : '';
  throw new RejectedAudioError(
    'UNDECODABLE',
    `this ${kind} file${without} cannot be opened: it is damaged, or it was cut off before it was complete`,
  );
}

/** What the first bytes say of a file that could not be opened. */
function kindOf(bytes: Bytes): string | undefined {
  const head = bytes.read(0, 16).toString('latin1');
  if (['ftyp', 'moov', 'mdat', 'wide'].includes(head.slice(4, 8))) return 'MP4';
  if (head.startsWith('RIFF') && head.slice(8, 12) === 'WAVE') return 'WAV';
  const signatures = {
    OggS: 'Ogg',
    fLaC: 'FLAC',
    FORM: 'AIFF',
    caff: 'CAF',
    ID3: 'MP3',
    '\x1aE\xdf\xa3': 'Matroska',
  };
  return Object.entries(signatures).find(([signature]) => head.startsWith(signature))?.[1];
}

/** The default track before others, programme before commentary, then most channels, then the longest. */
function mainTrack(format: FormatContext): { stream: Stream; codec: Codec } {
  const audio = format.streams.filter((stream) => stream.codecpar.codecType === AVMEDIA_TYPE_AUDIO);
  if (audio.length === 0) throw new RejectedAudioError('NO_AUDIO', 'the file has no audio track');

  const aside = AV_DISPOSITION_COMMENT | AV_DISPOSITION_HEARING_IMPAIRED | AV_DISPOSITION_VISUAL_IMPAIRED;
  const rank = (stream: Stream): number[] => [
    (stream.disposition & AV_DISPOSITION_DEFAULT) === 0 ? 0 : 1,
    (stream.disposition & aside) === 0 ? 1 : 0,
    stream.codecpar.channels,
    Number(stream.duration),
    -stream.index,
  ];
  const ranked = audio
    .map((stream) => ({ stream, rank: rank(stream) }))
    .sort((a, b) => {
      const differs = a.rank.findIndex((value, i) => value !== b.rank[i]);
      return differs < 0 ? 0 : b.rank[differs]! - a.rank[differs]!;
    });
  for (const { stream } of ranked) {
    const codec = Codec.findDecoder(stream.codecpar.codecId);
    if (codec && DECODERS.includes(codec.name ?? '')) return { stream, codec };
  }
  const names = audio.map(({ codecpar: { codecId } }) =>
    codecId === AV_CODEC_ID_NONE ? 'unknown' : (avGetCodecName(codecId) ?? `${codecId}`),
  );
  throw new RejectedAudioError(
    'UNSUPPORTED',
    `the audio is coded as ${names.join(', ')}, which is not supported`,
  );
}

function openDecoder(codec: Codec, stream: Stream): CodecContext {
  const decoder = new CodecContext();
  decoder.allocContext3(codec);
  decoder.parametersToContext(stream.codecpar);
  decoder.pktTimebase = stream.timeBase;
  decoder.threadCount = 1;
  // FLAC carries checksums: noise in place of a damaged frame is worse than a gap that is told.
  if (codec.name === 'flac') decoder.setOption('err_detect', 'crccheck+explode');
  const opened = decoder.open2Sync(codec);
  if (opened === AVERROR_ENOMEM) throw outOfMemory();
  if (opened < 0) {
    throw new RejectedAudioError(
      'UNDECODABLE',
      `the ${codec.name} audio is damaged: its set-up data cannot be read`,
    );
  }
  return decoder;
}

export function outOfMemory(): RejectedAudioError {
  return new RejectedAudioError('DECODER_CRASHED', 'the file asks for more memory than a decoder is given');
}

/** One name per container; FFmpeg lists all that a demuxer knows. */
function containerOf(format: FormatContext): string {
  const name = format.iformat?.name ?? 'unknown';
  return name.split(',')[0]!;
}

/** What the header claims of the file, ms. A guess from the bit rate is no claim. */
function claimedDuration(
  format: FormatContext,
  stream: Stream,
  container: string,
  bytes: Bytes,
): number | undefined {
  const states = container === 'mp3' ? xingOf(bytes)?.statesLength : STATES_DURATION.has(container);
  if (!states) return undefined;
  const wholeMs = format.duration > 0n ? Number(format.duration) / 1000 : undefined;
  const movieMs = container === 'mov' ? (movieDurationMs(bytes) ?? 0) : 0;
  if (movieMs > (wholeMs ?? 0) * 1.01 + 1000) return movieMs; // more than any of its tracks has
  if (stream.duration <= 0n) return wholeMs;
  return (Number(stream.duration) * stream.timeBase.num * 1000) / stream.timeBase.den;
}

/** What the header says of the audio track. Matroska speaks of the whole file, whose video may be longer. */
function statedDuration(
  format: FormatContext,
  stream: Stream,
  claimedMs: number | undefined,
  job: DecodeJob,
): number | undefined {
  const isOfTrack = stream.duration > 0n || format.nbStreams === 1;
  if (isOfTrack || (claimedMs ?? 0) > job.maxDurationMs) return claimedMs;
  const tag = /^(\d+):(\d\d):(\d\d(?:\.\d+)?)$/.exec(stream.metadata?.get('DURATION') ?? '');
  return tag ? (Number(tag[1]) * 3600 + Number(tag[2]) * 60 + Number(tag[3])) * 1000 : undefined;
}

/** What describes the file's make, not its content. */
const TECHNICAL = new Set([
  ...[
    'major_brand',
    'minor_version',
    'compatible_brands',
    'handler_name',
    'vendor_id',
    'language',
    'encoder',
  ],
  ...['duration', 'creation_time', 'timecode'],
]);

/** Names of the same tag in different containers. */
const SYNONYMS: Record<string, string> = { tsrc: 'isrc', year: 'date', tdrc: 'date', tyer: 'date' };

const MAX_TAG_LENGTH = 1000;

function tagsOf(format: FormatContext, stream: Stream): Record<string, string> {
  const tags: Record<string, string> = {};
  const pairs = { ...stream.metadata?.getAll(), ...format.metadata?.getAll() };
  for (const [name, value] of Object.entries(pairs)) {
    const key = SYNONYMS[name.toLowerCase()] ?? name.toLowerCase();
    const text = value
      .replaceAll(/\p{Cc}+/gu, ' ')
      .normalize('NFC')
      .trim();
    if (text !== '' && !TECHNICAL.has(key) && !Object.hasOwn(tags, key))
      tags[key] = text.slice(0, MAX_TAG_LENGTH);
  }
  return tags;
}
