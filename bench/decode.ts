import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { AudioEncoder, type EncodeOptions } from '../functions/adapters/media/encode.ts';
import { localDecoder } from '../local/decoder.ts';

// How fast the decoder is, from opening the file to its last sample on this side of the pipe.
//
//   node bench/decode.ts             ten minutes of stereo in the usual formats, to 16 kHz mono
//   node bench/decode.ts FILE...     these files
//
// "CPU" counts the seconds of both processes, so that other work on the machine does not blur it.

const RATE = 16_000;
const MINUTES = 10;
const SOURCE_RATE = 44_100;

const FORMATS: Record<string, EncodeOptions> = {
  'mp3 128k': { format: 'mp3', bitRate: 128_000, sampleRate: SOURCE_RATE },
  'mp3 64k mono': { format: 'mp3', bitRate: 64_000, channels: 1, sampleRate: SOURCE_RATE },
  'aac 128k in mp4, with video': {
    format: 'mp4',
    bitRate: 128_000,
    picture: 'video',
    sampleRate: SOURCE_RATE,
  },
  'vorbis in ogg': { format: 'ogg', sampleRate: SOURCE_RATE },
  'opus 64k in webm': { format: 'webm', bitRate: 64_000, sampleRate: SOURCE_RATE },
  'opus 24k mono in ogg': { format: 'opus', bitRate: 24_000, channels: 1, sampleRate: SOURCE_RATE },
  flac: { format: 'flac', sampleRate: SOURCE_RATE },
  'wav 16 bit': { format: 'wav', sampleRate: SOURCE_RATE },
};

const decoder = await localDecoder();
const named = process.argv.slice(2);
const files = named.length > 0 ? named.map((path) => [path, path] as const) : encodedFiles();
console.log('file                          length    wall     CPU   first sample   memory of the decoder');
for (const [name, path] of files) {
  const { seconds, wall, cpu, firstMs, residentMb } = await measure(path);
  console.log(
    [
      name.slice(-28).padEnd(28),
      `${seconds.toFixed(0)} s`.padStart(7),
      `${(seconds / wall).toFixed(0)}x`.padStart(7),
      `${(seconds / cpu).toFixed(0)}x`.padStart(7),
      `${firstMs.toFixed(0)} ms`.padStart(12),
      `${residentMb.toFixed(0)} MB`.padStart(10),
    ].join(' '),
  );
}

async function measure(path: string) {
  const before = { cpu: cpuSeconds(), now: performance.now() };
  const audio = await decoder.open(path, { sampleRate: RATE });
  let firstMs = 0;
  let residentMb = 0;
  let blocks = 0;
  for await (const _ of audio.blocks) {
    firstMs ||= performance.now() - before.now;
    if (blocks++ % 100 === 50) residentMb = Math.max(residentMb, residentOfChildMb());
  }
  const { durationMs } = await audio.summary;
  return {
    seconds: durationMs / 1000,
    wall: (performance.now() - before.now) / 1000,
    cpu: cpuSeconds() - before.cpu,
    firstMs,
    residentMb,
  };
}

/** Of this process and of its children that have ended, seconds. */
function cpuSeconds(): number {
  const fields = readFileSync('/proc/self/stat', 'utf8').split(') ')[1]!.split(' ').map(Number);
  const [utime, stime, cutime, cstime] = fields.slice(11, 15);
  return (utime! + stime! + cutime! + cstime!) / 100;
}

function residentOfChildMb(): number {
  const children = readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8')
    .trim()
    .split(' ')
    .filter(Boolean);
  const kilobytes = children.map((pid) => {
    const status = existsSync(`/proc/${pid}/status`) ? readFileSync(`/proc/${pid}/status`, 'utf8') : '';
    return Number(/^VmHWM:\s+(\d+)/m.exec(status)?.[1] ?? 0);
  });
  return Math.max(0, ...kilobytes) / 1000;
}

function encodedFiles(): (readonly [string, string])[] {
  const folder = join(process.env.REFRAIN_CACHE ?? join(homedir(), '.cache/refrain'), 'bench-decode');
  mkdirSync(folder, { recursive: true });
  return Object.entries(FORMATS).map(([name, options]) => {
    const path = join(folder, `${name.replaceAll(/\W+/g, '-')}.${options.format}`);
    if (!existsSync(path)) encodeMinutes(path, options);
    return [name, path] as const;
  });
}

/** Chords that change every second, under noise: as hard on a decoder as music is. */
function encodeMinutes(path: string, options: EncodeOptions): void {
  const encoder = new AudioEncoder(path, 2, options);
  for (let second = 0; second < MINUTES * 60; second++) {
    const chord = [0, 4, 7].map(
      (step) => (110 * 2 ** ((step + (second % 24)) / 12) * 2 * Math.PI) / SOURCE_RATE,
    );
    const channel = () =>
      Float32Array.from({ length: SOURCE_RATE }, (_, i) => {
        const tones = chord.reduce((sum, step) => sum + Math.sin(step * i) + 0.5 * Math.sin(3 * step * i), 0);
        return 0.12 * tones + 0.05 * (Math.random() - 0.5);
      });
    encoder.write([channel(), channel()]);
  }
  encoder.close();
}
