/** A file that is read here and there. */
export interface Bytes {
  size: number;
  /** Up to `length` bytes; fewer at the end of the file. */
  read(offset: number, length: number): Buffer;
}

/** Headers are looked at one by one up to so many; what has more is no honest file. */
const MAX_PARTS = 4_000_000;

/**
 * Whether a file ends before its own bytes say it does. Demuxers read what is there and call the rest the end; what
 * tells a cut file from a complete one are the lengths that its container wrote down, or its last page or frame.
 *
 * `false` where nothing is stated: a live stream without lengths, or an MP3 without a summary that was cut exactly
 * between two frames.
 * @param container FFmpeg's name of the demuxer
 */
export function isCutOff(file: Bytes, container: string): boolean {
  switch (container) {
    case 'mp3':
      return (xingOf(file)?.end ?? 0) > file.size || endsInsideFrame(file, mp3FrameLength);
    case 'aac':
      return endsInsideFrame(file, adtsFrameLength);
    case 'ogg':
      return endsInsideOgg(file);
    case 'mov':
      return endsInsideBox(file);
    case 'matroska':
      return endsInsideElement(file);
    case 'wav':
      return endsInsideRiff(file);
    case 'w64':
      return file.read(16, 8).readBigUInt64LE() > BigInt(file.size);
    case 'aiff':
      return file.read(4, 4).readUInt32BE() + 8 > file.size + 1; // the last pad byte is often left out
    case 'caf':
      return endsInsideCaf(file);
    default:
      return false;
  }
}

// MPEG audio and ADTS: frames without any frame around them.

const TAIL_BYTES = 64 * 1024;

/** Consecutive headers that make it certain where frames begin. */
const CERTAIN = 4;

const BIT_RATES: Record<string, number[]> = {
  '1.1': [32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
  '1.2': [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
  '1.3': [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
  '2.1': [32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
  '2.2': [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
};
const SAMPLE_RATES = [44_100, 48_000, 32_000];

/** Bytes of the frame that begins here, or 0 if none does (or its length is not stated: free format). */
function mp3FrameLength(bytes: Buffer, at: number): number {
  if (at + 4 > bytes.length || bytes[at] !== 0xff || (bytes[at + 1]! & 0xe0) !== 0xe0) return 0;
  const version = (bytes[at + 1]! >> 3) & 3; // 0: 2.5, 2: 2, 3: 1
  const layer = 4 - ((bytes[at + 1]! >> 1) & 3);
  const rate = SAMPLE_RATES[(bytes[at + 2]! >> 2) & 3];
  if (version === 1 || layer === 4 || rate === undefined) return 0;
  const table = BIT_RATES[version === 3 ? `1.${layer}` : layer === 1 ? '2.1' : '2.2']!;
  const bitRate = (table[(bytes[at + 2]! >> 4) - 1] ?? 0) * 1000;
  if (bitRate === 0) return 0;
  const sampleRate = version === 3 ? rate : version === 2 ? rate / 2 : rate / 4;
  const padding = (bytes[at + 2]! >> 1) & 1;
  if (layer === 1) return (Math.floor((12 * bitRate) / sampleRate) + padding) * 4;
  return Math.floor(((layer === 3 && version !== 3 ? 72 : 144) * bitRate) / sampleRate) + padding;
}

function adtsFrameLength(bytes: Buffer, at: number): number {
  if (at + 6 > bytes.length || bytes[at] !== 0xff || (bytes[at + 1]! & 0xf6) !== 0xf0) return 0;
  return ((bytes[at + 3]! & 3) << 11) | (bytes[at + 4]! << 3) | (bytes[at + 5]! >> 5);
}

function endsInsideFrame(file: Bytes, lengthAt: (bytes: Buffer, at: number) => number): boolean {
  const end = endOfAudio(file);
  const start = Math.max(0, end - TAIL_BYTES);
  const tail = file.read(start, end - start);

  const follows = (at: number, frames: number): boolean =>
    frames === 0 || (lengthAt(tail, at) > 0 && follows(at + lengthAt(tail, at), frames - 1));
  let at = 0;
  while (at < tail.length && !follows(at, CERTAIN)) at++;

  for (let length = lengthAt(tail, at); length > 0 && at < tail.length; length = lengthAt(tail, at))
    at += length;
  // What comes after the last whole frame and is no frame is junk, unless it is the beginning of a header.
  return at > tail.length || (tail.length - at > 0 && tail.length - at < 6 && tail[at] === 0xff);
}

/** Where the frames end: tags that players put behind them do not count. */
function endOfAudio(file: Bytes): number {
  let end = file.size;
  if (file.read(end - 128, 3).toString('latin1') === 'TAG') end -= 128;
  const ape = file.read(end - 32, 16);
  if (ape.toString('latin1', 0, 8) === 'APETAGEX') end -= ape.readUInt32LE(12) + 32;
  return Math.max(0, end);
}

/**
 * The summary that encoders put into the first frame of an MP3.
 * @returns where the last frame must have begun by its word; `undefined` if there is none
 */
export function xingOf(file: Bytes): { end: number | undefined; statesLength: boolean } | undefined {
  const start = afterId3(file);
  const head = file.read(start, TAIL_BYTES);
  let at = 0;
  while (at < head.length && mp3FrameLength(head, at) === 0) at++;
  const isMpeg1 = ((head[at + 1] ?? 0) & 0x08) !== 0;
  const isMono = (head[at + 3] ?? 0) >> 6 === 3;
  const tag = at + 4 + (isMpeg1 ? (isMono ? 17 : 32) : isMono ? 9 : 17);
  if (!['Xing', 'Info'].includes(head.toString('latin1', tag, tag + 4)) || tag + 16 > head.length)
    return undefined;
  const flags = head.readUInt32BE(tag + 4);
  const hasFrames = (flags & 1) !== 0;
  const bytesAt = tag + (hasFrames ? 12 : 8);
  return {
    statesLength: hasFrames,
    // Some writers do not count their own frame.
    end: (flags & 2) === 0 ? undefined : start + at + head.readUInt32BE(bytesAt) - mp3FrameLength(head, at),
  };
}

function afterId3(file: Bytes): number {
  let at = 0;
  for (let header = file.read(0, 10); header.toString('latin1', 0, 3) === 'ID3' && header.length === 10; ) {
    const size = header.subarray(6).reduce((sum, byte) => sum * 128 + (byte & 0x7f), 0);
    at += 10 + size + ((header[5]! & 0x10) === 0 ? 0 : 10);
    header = file.read(at, 10);
  }
  return at;
}

// Ogg: the last page carries the end-of-stream flag.

const OGG_PAGE_HEADER = 27;
const MAX_OGG_PAGE = OGG_PAGE_HEADER + 255 + 255 * 255;

function endsInsideOgg(file: Bytes): boolean {
  const start = Math.max(0, file.size - 2 * MAX_OGG_PAGE);
  const tail = file.read(start, file.size - start);
  const at = tail.lastIndexOf('OggS', undefined, 'latin1');
  if (at < 0 || at + OGG_PAGE_HEADER > tail.length) return true;
  const isLast = (tail[at + 5]! & 4) !== 0;
  const segments = tail[at + 26]!;
  const lacing = tail.subarray(at + OGG_PAGE_HEADER, at + OGG_PAGE_HEADER + segments);
  const length = OGG_PAGE_HEADER + segments + lacing.reduce((sum, bytes) => sum + bytes, 0);
  return !isLast || lacing.length < segments || at + length > tail.length;
}

// Boxes, elements and chunks: each says how long it is.

function endsInsideBox(file: Bytes): boolean {
  let end = 0;
  for (const box of boxesOf(file)) end = box.end;
  return end > file.size;
}

/** The boxes of a movie one after the other, as far as they make sense. */
function* boxesOf(file: Bytes): Generator<{ type: string; body: number; end: number }> {
  let at = 0;
  for (let parts = 0; at < file.size && parts < MAX_PARTS; parts++) {
    const header = file.read(at, 16);
    const long = header.length === 16 && header.readUInt32BE() === 1;
    const size = long ? Number(header.readBigUInt64BE(8)) : header.length < 8 ? 8 : header.readUInt32BE();
    if (size < 8) return; // 0: to the end of the file; otherwise no box, and no part of the movie
    yield { type: header.toString('latin1', 4, 8), body: at + (long ? 16 : 8), end: at + size };
    at += size;
  }
}

/** How long an MP4 or MOV claims to be, ms; demuxers go by its tables and ignore this. */
export function movieDurationMs(file: Bytes): number | undefined {
  let moov: number | undefined;
  for (const { type, body } of boxesOf(file)) if (type === 'moov') moov ??= body;
  const mvhd = moov === undefined ? undefined : file.read(moov, 40); // its first child
  if (mvhd?.length !== 40 || mvhd.toString('latin1', 4, 8) !== 'mvhd') return undefined;
  const isLong = mvhd[8] === 1;
  const timescale = mvhd.readUInt32BE(isLong ? 28 : 20);
  const duration = isLong ? Number(mvhd.readBigUInt64BE(32)) : mvhd.readUInt32BE(24);
  const unknown = isLong ? 2 ** 64 - 1 : 2 ** 32 - 1;
  return timescale === 0 || duration >= unknown ? undefined : (duration * 1000) / timescale;
}

const EBML_SEGMENT = 0x18538067;
const EBML_CLUSTER = 0x1f43b675;

/** Elements of a live recording have no length of their own: their children are looked at instead. */
function endsInsideElement(file: Bytes): boolean {
  const window = windowOver(file);
  let at = 0;
  for (let parts = 0; at < file.size && parts < MAX_PARTS; parts++) {
    const header = window(at, 12);
    const idLength = Math.clz32(header[0]!) - 23;
    if (idLength > 4) return false; // not an element
    if (header.length <= idLength) return true;
    const sizeLength = Math.clz32(header[idLength]!) - 23;
    if (sizeLength > 8) return false;
    if (header.length < idLength + sizeLength) return true;
    const id = header.readUIntBE(0, idLength);
    const coded = header.subarray(idLength, idLength + sizeLength);
    const unknown =
      (coded[0]! | (0xff << (8 - sizeLength))) % 256 === 255 && coded.subarray(1).every((b) => b === 255);
    const size = coded.reduce(
      (sum, byte, i) => (i === 0 ? byte & (0xff >> sizeLength) : sum * 256 + byte),
      0,
    );
    at += idLength + sizeLength;
    if (!unknown) at += size;
    else if (id !== EBML_SEGMENT && id !== EBML_CLUSTER) return false;
  }
  return at > file.size;
}

function endsInsideRiff(file: Bytes): boolean {
  const window = windowOver(file);
  let at = 12;
  let longSize: number | undefined;
  for (let parts = 0; parts < MAX_PARTS; parts++) {
    const header = window(at, 24);
    if (header.length < 8) return true; // no data at all
    const id = header.toString('latin1', 0, 4);
    const size = header.readUInt32LE(4);
    if (id === 'ds64' && header.length === 24) longSize = Number(header.readBigUInt64LE(16));
    if (id === 'data') {
      const stated = size < 0xffff_f000 ? size : (longSize ?? 0); // writers to a pipe leave it open
      return at + 8 + stated > file.size;
    }
    at += 8 + size + (size % 2);
  }
  return false;
}

function endsInsideCaf(file: Bytes): boolean {
  let at = 8;
  for (let parts = 0; at < file.size && parts < MAX_PARTS; parts++) {
    const header = file.read(at, 12);
    if (header.length < 12) return true;
    const size = Number(header.readBigInt64BE(4));
    if (size < 0) return false; // open-ended, as in a recording that runs
    at += 12 + size;
  }
  return at > file.size;
}

/** Reads small pieces that lie near each other without asking the system for each. */
function windowOver(file: Bytes): (offset: number, length: number) => Buffer {
  let start = 0;
  let bytes: Buffer = Buffer.alloc(0);
  return (offset, length) => {
    if (offset < start || offset + length > start + bytes.length) {
      start = offset;
      bytes = file.read(offset, TAIL_BYTES);
    }
    return bytes.subarray(offset - start, offset - start + length);
  };
}
