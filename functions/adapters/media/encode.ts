import {
  AV_CODEC_CAP_VARIABLE_FRAME_SIZE,
  AV_CODEC_FLAG_GLOBAL_HEADER,
  AV_DISPOSITION_ATTACHED_PIC,
  AV_LOG_ERROR,
  AV_PIX_FMT_RGB24,
  AV_PIX_FMT_YUV420P,
  AV_SAMPLE_FMT_FLT,
  AV_SAMPLE_FMT_FLTP,
  AVERROR_EAGAIN,
  AVERROR_EOF,
  AVFMT_GLOBALHEADER,
  type AVPixelFormat,
} from 'node-av/constants';
import {
  AudioFifo,
  avChannelLayoutDefault,
  avGetBytesPerSample,
  avRescaleQ,
  avSampleFmtIsPlanar,
  Codec,
  CodecContext,
  Dictionary,
  FFmpegError,
  FormatContext,
  Frame,
  Log,
  Packet,
  Rational,
  SoftwareResampleContext,
  type Stream,
} from 'node-av/lib';

/** Containers that can be written, with the FFmpeg muxer and the encoder used unless another is named. */
const FORMATS = {
  mp3: { muxer: 'mp3', codec: 'libmp3lame' },
  m4a: { muxer: 'ipod', codec: 'aac' },
  mp4: { muxer: 'mp4', codec: 'aac' },
  mov: { muxer: 'mov', codec: 'aac' },
  aac: { muxer: 'adts', codec: 'aac' },
  ogg: { muxer: 'ogg', codec: 'libvorbis' },
  opus: { muxer: 'opus', codec: 'libopus' },
  webm: { muxer: 'webm', codec: 'libopus' },
  mkv: { muxer: 'matroska', codec: 'libvorbis' },
  flac: { muxer: 'flac', codec: 'flac' },
  wav: { muxer: 'wav', codec: 'pcm_s16le' },
  w64: { muxer: 'w64', codec: 'pcm_s16le' },
  aiff: { muxer: 'aiff', codec: 'pcm_s16be' },
  caf: { muxer: 'caf', codec: 'pcm_s16be' },
} as const;
export type AudioFormat = keyof typeof FORMATS;

/** node-av 6.1 hands at most so many planes to FFmpeg; one more overruns its array and crashes. */
const MAX_PLANES = 8;

export interface EncodeOptions {
  format: AudioFormat;
  /** Rate of the PCM that is handed in, Hz. */
  sampleRate: number;
  /** Rate of the file, Hz. Default: `sampleRate`, or the next rate that the codec knows. */
  fileRate?: number;
  /** Channels of the file. Default: those of the PCM. */
  channels?: number;
  /** FFmpeg's name of an encoder (`libopus`, `pcm_f32le`, ...). Default: the usual one of the format. */
  codec?: string;
  /** Bits per second, for the lossy codecs. */
  bitRate?: number;
  tags?: Record<string, string>;
  /** Adds a tiny moving picture (`video`), or a still one as players show it (`cover`). */
  picture?: 'video' | 'cover';
  /** Further options of the muxer, such as `{ movflags: 'faststart' }`. */
  muxer?: Record<string, string>;
}

/** Encodes PCM to an audio file, for demonstrations, benches and tests. Any rate and any number of channels. */
export function encodeAudio(path: string, channels: readonly Float32Array[], options: EncodeOptions): void {
  const encoder = new AudioEncoder(path, channels.length, options);
  const step = options.sampleRate; // a second at a time
  for (let start = 0; start < channels[0]!.length; start += step) {
    encoder.write(channels.map((channel) => channel.subarray(start, start + step)));
  }
  encoder.close();
}

/** The same in pieces, for audio that does not fit into memory. */
export class AudioEncoder {
  readonly #muxer = new FormatContext();
  readonly #resampler = new SoftwareResampleContext();
  readonly #fifo = new AudioFifo();
  readonly #audio: Track;
  readonly #picture: Track | undefined;
  readonly #frameSize: number;
  #written = 0;

  /** @param channels how many channels each call of `write` brings */
  constructor(path: string, channels: number, options: EncodeOptions) {
    Log.setLevel(AV_LOG_ERROR);
    const format = FORMATS[options.format];
    check(this.#muxer.allocOutputContext2(null, format.muxer, path), `make a ${options.format} file`);
    if (options.tags) this.#muxer.metadata = Dictionary.fromObject(options.tags);

    const codec = findEncoder(options.codec ?? format.codec);
    this.#audio = new Track(this.#muxer, codec, (context) => {
      context.sampleRate = nearestRate(codec, options.fileRate ?? options.sampleRate);
      context.timeBase = new Rational(1, context.sampleRate);
      context.channelLayout = avChannelLayoutDefault(options.channels ?? channels);
      context.sampleFormat = codec.sampleFormats?.[0] ?? AV_SAMPLE_FMT_FLTP;
      if (options.bitRate) context.bitRate = BigInt(options.bitRate);
    });
    if (options.picture) this.#picture = pictureTrack(this.#muxer, options.format, options.picture);

    const { context } = this.#audio;
    if (context.channels > MAX_PLANES && avSampleFmtIsPlanar(context.sampleFormat)) {
      throw new Error(`${codec.name} cannot be given more than ${MAX_PLANES} channels here`);
    }
    check(
      this.#resampler.allocSetOpts2(
        context.channelLayout,
        context.sampleFormat,
        context.sampleRate,
        avChannelLayoutDefault(channels),
        AV_SAMPLE_FMT_FLT,
        options.sampleRate,
      ),
      'set up the resampler',
    );
    check(this.#resampler.init(), 'start the resampler');
    const variable = (codec.capabilities & AV_CODEC_CAP_VARIABLE_FRAME_SIZE) !== 0;
    this.#frameSize = variable || context.frameSize === 0 ? 4096 : context.frameSize;
    this.#fifo.alloc(context.sampleFormat, context.channels, this.#frameSize);

    check(this.#muxer.openOutputSync(), `open ${path}`);
    check(
      this.#muxer.writeHeaderSync(options.muxer ? Dictionary.fromObject(options.muxer) : null),
      `write the header of ${path}`,
    );
    if (options.picture === 'cover') this.#picture?.encode(pictureFrame(this.#picture.context, 0));
  }

  /** One array of samples per channel, -1..1, all of the same length. */
  write(channels: readonly Float32Array[]): void {
    const samples = channels[0]!.length;
    this.#resample([interleave(channels, samples)], samples);
    this.#encodeWholeFrames();
  }

  /** Writes what is left and ends the file. */
  close(): void {
    this.#resample(null, 0);
    this.#encodeWholeFrames();
    if (this.#fifo.size > 0) this.#encodeFrame(this.#fifo.size);
    this.#audio.encode(null);
    this.#picture?.encode(null);
    check(this.#muxer.writeTrailerSync(), 'write the trailer');
    this.#muxer.closeOutputSync();
    for (const part of [this.#audio.context, this.#picture?.context, this.#resampler, this.#fifo]) {
      part?.[Symbol.dispose]();
    }
    this.#muxer.freeContext();
  }

  #resample(input: Buffer[] | null, samples: number): void {
    const room = this.#resampler.getOutSamples(samples);
    if (room <= 0) return;
    const output = planes(this.#audio.context, room);
    const made = this.#resampler.convertSync(output, room, input, samples);
    check(made, 'resample');
    if (made > 0) check(this.#fifo.writeSync(output, made), 'buffer samples');
  }

  #encodeWholeFrames(): void {
    while (this.#fifo.size >= this.#frameSize) this.#encodeFrame(this.#frameSize);
  }

  #encodeFrame(samples: number): void {
    const { context } = this.#audio;
    const data = planes(context, samples);
    check(this.#fifo.readSync(data, samples), 'take samples');
    const frame = Frame.fromAudioBuffer(Buffer.concat(data), {
      nbSamples: samples,
      format: context.sampleFormat,
      sampleRate: context.sampleRate,
      channelLayout: context.channelLayout,
      timeBase: context.timeBase,
      pts: BigInt(this.#written),
    });
    this.#audio.encode(frame);
    this.#written += samples;

    const picture = this.#picture;
    if (!picture || picture.context.gopSize === 0) return;
    // The picture keeps pace with the sound, one image a second.
    while (picture.frames * context.sampleRate < this.#written) {
      picture.encode(pictureFrame(picture.context, picture.frames));
    }
  }
}

/** One stream of the file: an open encoder whose packets go straight to the muxer. */
class Track {
  readonly context = new CodecContext();
  frames = 0;
  readonly #stream: Stream;
  readonly #muxer: FormatContext;

  constructor(muxer: FormatContext, codec: Codec, configure: (context: CodecContext) => void) {
    this.#muxer = muxer;
    this.context.allocContext3(codec);
    configure(this.context);
    if (((muxer.oformat?.flags ?? 0) & AVFMT_GLOBALHEADER) !== 0) {
      this.context.setFlags(AV_CODEC_FLAG_GLOBAL_HEADER);
    }
    // Not handed to open2Sync: node-av 6.1 frees the options of a codec twice, which crashes at exit.
    this.context.setOption('strict', 'experimental');
    check(this.context.open2Sync(codec), `open the encoder ${codec.name}`);
    this.#stream = muxer.newStream(codec);
    check(this.#stream.codecpar.fromContext(this.context), 'describe the stream');
    this.#stream.timeBase = this.context.timeBase;
  }

  get stream(): Stream {
    return this.#stream;
  }

  /** Encodes a frame and frees it; `null` drains the encoder. */
  encode(frame: Frame | null): void {
    check(this.context.sendFrameSync(frame), 'encode');
    if (frame) {
      this.frames++;
      frame.free();
    }
    const packet = new Packet();
    packet.alloc();
    for (;;) {
      const got = this.context.receivePacketSync(packet);
      if (got === AVERROR_EAGAIN || got === AVERROR_EOF) break;
      check(got, 'encode');
      packet.streamIndex = this.#stream.index;
      packet.rescaleTs(this.context.timeBase, this.#stream.timeBase);
      check(this.#muxer.interleavedWriteFrameSync(packet), 'write a packet');
      packet.unref();
    }
    packet.free();
  }
}

function pictureTrack(muxer: FormatContext, format: AudioFormat, kind: 'video' | 'cover'): Track {
  const name = kind === 'cover' ? 'png' : format === 'webm' ? 'libvpx' : 'mpeg4';
  const track = new Track(muxer, findEncoder(name), (context) => {
    context.width = 64;
    context.height = 64;
    context.pixelFormat = kind === 'cover' ? AV_PIX_FMT_RGB24 : AV_PIX_FMT_YUV420P;
    context.timeBase = new Rational(1, 1);
    context.framerate = new Rational(1, 1);
    context.gopSize = kind === 'cover' ? 0 : 10;
    context.bitRate = 20_000n;
  });
  if (kind === 'cover') track.stream.disposition = AV_DISPOSITION_ATTACHED_PIC;
  return track;
}

/** A flat grey that changes with every image. */
function pictureFrame(context: CodecContext, index: number): Frame {
  const { width, height } = context;
  const bytes = context.pixelFormat === AV_PIX_FMT_RGB24 ? width * height * 3 : (width * height * 3) / 2;
  return Frame.fromVideoBuffer(Buffer.alloc(bytes, 40 + (index % 100)), {
    width,
    height,
    format: context.pixelFormat as AVPixelFormat,
    timeBase: context.timeBase,
    pts: avRescaleQ(BigInt(index), { num: 1, den: 1 }, context.timeBase),
  });
}

function findEncoder(name: string): Codec {
  const codec = Codec.findEncoderByName(name as Parameters<typeof Codec.findEncoderByName>[0]);
  if (!codec) throw new Error(`this build of FFmpeg has no encoder called ${name}`);
  return codec;
}

/** The lowest rate of the codec that loses nothing, else its highest. */
function nearestRate(codec: Codec, wanted: number): number {
  const rates = [...(codec.supportedSamplerates ?? [])].sort((a, b) => a - b);
  return rates.length === 0 ? wanted : (rates.find((rate) => rate >= wanted) ?? rates.at(-1)!);
}

/** One sample of each channel after the other: node-av 6.1 crashes on more than eight channels apart. */
function interleave(channels: readonly Float32Array[], samples: number): Buffer {
  const count = channels.length;
  const mixed = new Float32Array(samples * count);
  channels.forEach((channel, c) => {
    for (let i = 0; i < samples; i++) mixed[i * count + c] = channel[i]!;
  });
  return Buffer.from(mixed.buffer);
}

/** Empty sample memory in the codec's format: one buffer per channel, or one for all of them. */
function planes({ sampleFormat, channels }: CodecContext, samples: number): Buffer[] {
  const bytes = avGetBytesPerSample(sampleFormat) * samples;
  return avSampleFmtIsPlanar(sampleFormat)
    ? Array.from({ length: channels }, () => Buffer.alloc(bytes))
    : [Buffer.alloc(bytes * channels)];
}

function check(result: number, what: string): void {
  FFmpegError.throwIfError(result, `could not ${what}`);
}
