import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, open, rename, rm, writeFile } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

// PCM in the bench is mono Float32Array at RATE unless a name says otherwise.

export const RATE = 44_100;

export const CACHE = process.env.REFRAIN_CACHE ?? join(homedir(), '.cache', 'refrain');
export const BENCH_CACHE = join(CACHE, 'bench');

/** A short name for anything that JSON can say. */
export const hashOf = (value: unknown): string =>
  createHash('sha256').update(JSON.stringify(value)).digest('hex').slice(0, 20);

/**
 * Runs a command and resolves to its standard output.
 * @throws Error with what it printed to standard error when it fails
 */
export function run(command: string, args: readonly string[], input?: Uint8Array): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args);
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    child.stdout.on('data', (data) => out.push(data));
    child.stderr.on('data', (data) => err.push(data));
    child.stdin.on('error', () => {}); // a command may stop reading early; its exit code tells whether that was right
    child.on('error', reject);
    child.on('close', (code) => {
      if (code === 0) resolve(Buffer.concat(out));
      else
        reject(
          new Error(
            `${command} ${args.join(' ')}: exit ${code}\n${Buffer.concat(err).toString().slice(-2000)}`,
          ),
        );
    });
    child.stdin.end(input);
  });
}

const RAW = ['-f', 'f32le', '-ar', String(RATE), '-ac', '1'];
const QUIET = ['-hide_banner', '-v', 'error', '-nostdin', '-y'];

/** 16-bit samples, for keeping. */
export function toInt16(pcm: Float32Array): Int16Array {
  const out = new Int16Array(pcm.length);
  for (let i = 0; i < out.length; i++)
    out[i] = Math.max(-32768, Math.min(32767, Math.round(pcm[i]! * 32767)));
  return out;
}

export function fromInt16(bytes: Buffer): Float32Array {
  const samples = new Int16Array(bytes.buffer, bytes.byteOffset, bytes.length >> 1);
  const out = new Float32Array(samples.length);
  for (let i = 0; i < out.length; i++) out[i] = samples[i]! / 32767;
  return out;
}

/** Samples of a raw 16-bit file from `start` on; fewer than asked for where it ends. */
export async function readInt16(path: string, start: number, samples: number): Promise<Float32Array> {
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(samples * 2), 0, samples * 2, start * 2);
    return fromInt16(buffer.subarray(0, bytesRead));
  } finally {
    await file.close();
  }
}

export const bytesOf = (samples: Float32Array | Int16Array | Uint32Array): Uint8Array =>
  new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength);

/** Copies, because a Buffer's bytes need not start on a multiple of four. */
const floatsOf = (bytes: Buffer): Float32Array =>
  new Float32Array(new Uint8Array(bytes).buffer, 0, Math.floor(bytes.length / 4));

/** Decodes any file that ffmpeg knows. `.g722` has no header to tell what it is. */
export async function decode(path: string): Promise<Float32Array> {
  const format = path.endsWith('.g722') ? ['-f', 'g722'] : [];
  return floatsOf(await run('ffmpeg', [...QUIET, ...format, '-i', path, '-vn', ...RAW, 'pipe:1']));
}

/** Through an ffmpeg filter graph. */
export async function filtered(pcm: Float32Array, filter: string): Promise<Float32Array> {
  const args = [
    ...QUIET.filter((arg) => arg !== '-nostdin'),
    ...RAW,
    '-i',
    'pipe:0',
    '-af',
    filter,
    ...RAW,
    'pipe:1',
  ];
  return floatsOf(await run('ffmpeg', args, bytesOf(pcm)));
}

/** Through sox effects, e.g. `['sinc', '300-3400']`. */
export async function soxed(pcm: Float32Array, effects: readonly string[]): Promise<Float32Array> {
  const raw = ['-t', 'f32', '-r', String(RATE), '-c', '1'];
  return floatsOf(await run('sox', ['-V1', ...raw, '-', ...raw, '-', ...effects], bytesOf(pcm)));
}

/**
 * Writes PCM as a file, with ffmpeg's arguments for the output (codec, rate).
 * The file appears whole or not at all.
 */
export const encode = (pcm: Float32Array, path: string, output: readonly string[]): Promise<void> =>
  encodeCuts(pcm, [{ path, at: 0, seconds: pcm.length / RATE }], output);

/** Writes several stretches of the same PCM, each as a file of its own. */
export async function encodeCuts(
  pcm: Float32Array,
  cuts: readonly { path: string; at: number; seconds: number }[],
  output: readonly string[],
): Promise<void> {
  for (const { path } of cuts) await mkdir(dirname(path), { recursive: true });
  const part = (path: string) => path.replace(/(\.\w+)$/, `.${process.pid}.part$1`);
  const outputs = cuts.flatMap(({ path, at, seconds }) => [
    '-ss',
    `${at}`,
    '-t',
    `${seconds}`,
    ...output,
    part(path),
  ]);
  await run(
    'ffmpeg',
    [...QUIET.filter((arg) => arg !== '-nostdin'), ...RAW, '-i', 'pipe:0', ...outputs],
    bytesOf(pcm),
  );
  for (const { path } of cuts) await rename(part(path), path);
}

/** Gives `use` a scratch folder that is gone afterwards. */
export async function withScratch<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'refrain-bench-'));
  try {
    return await use(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Encodes and decodes again, so that what comes out has lost what the codec drops. Same length, same time. */
export function throughCodec(
  pcm: Float32Array,
  extension: string,
  output: readonly string[],
): Promise<Float32Array> {
  return withScratch(async (folder) => {
    const path = join(folder, `coded.${extension}`);
    await encode(pcm, path, output);
    return fitted(await decode(path), pcm.length);
  });
}

/** rubberband: `tempo` and `pitch` as factors; `fine` is its slower R3 engine. */
export function stretched(
  pcm: Float32Array,
  tempo: number,
  pitch: number,
  fine: boolean,
): Promise<Float32Array> {
  return withScratch(async (folder) => {
    const [before, after] = [join(folder, 'before.wav'), join(folder, 'after.wav')];
    await encode(pcm, before, ['-c:a', 'pcm_f32le']);
    const semitones = 12 * Math.log2(pitch);
    const engine = fine ? ['--fine'] : [];
    await run('rubberband', [
      '-q',
      ...engine,
      '--tempo',
      String(tempo),
      '--pitch',
      String(semitones),
      before,
      after,
    ]);
    return decode(after);
  });
}

/** Cut or padded with zeros to `length`. */
export function fitted(pcm: Float32Array, length: number): Float32Array {
  if (pcm.length >= length) return pcm.subarray(0, length);
  const out = new Float32Array(length);
  out.set(pcm);
  return out;
}

export function rms(pcm: Float32Array, from = 0, to = pcm.length): number {
  let sum = 0;
  for (let i = from; i < to; i++) sum += pcm[i]! * pcm[i]!;
  return Math.sqrt(sum / Math.max(1, to - from));
}

export const gain = (db: number): number => 10 ** (db / 20);
export const decibels = (amplitude: number): number => 20 * Math.log10(Math.max(amplitude, 1e-9));

/** Scales down what would clip, and nothing else: clipping is a distortion of its own. */
export function guarded(pcm: Float32Array): Float32Array {
  let peak = 0;
  for (const x of pcm) peak = Math.max(peak, Math.abs(x));
  return peak <= 0.99 ? pcm : pcm.map((x) => (x * 0.99) / peak);
}

/** Decodes once and keeps the result on disk; `make` is asked only the first time. */
export async function cachedFile(path: string, make: () => Promise<Uint8Array>): Promise<string> {
  if (existsSync(path)) return path;
  await mkdir(dirname(path), { recursive: true });
  const part = `${path}.${process.pid}.part`;
  await writeFile(part, await make());
  await rename(part, path);
  return path;
}

/** In-place radix-2 FFT of `re + i im`; the length is a power of two. */
export function fft(re: Float64Array, im: Float64Array, inverse = false): void {
  const n = re.length;
  for (let i = 1, j = 0; i < n; i++) {
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      [re[i], re[j]] = [re[j]!, re[i]!];
      [im[i], im[j]] = [im[j]!, im[i]!];
    }
  }
  const { cos, sin } = twiddles(n);
  for (let size = 2; size <= n; size *= 2) {
    const half = size / 2;
    const stride = n / size;
    for (let start = 0; start < n; start += size) {
      for (let k = 0; k < half; k++) {
        const c = cos[k * stride]!;
        const s = inverse ? -sin[k * stride]! : sin[k * stride]!;
        const a = start + k;
        const b = a + half;
        const xr = re[b]! * c - im[b]! * s;
        const xi = re[b]! * s + im[b]! * c;
        re[b] = re[a]! - xr;
        im[b] = im[a]! - xi;
        re[a] = re[a]! + xr;
        im[a] = im[a]! + xi;
      }
    }
  }
  if (inverse) {
    for (let i = 0; i < n; i++) {
      re[i]! /= n;
      im[i]! /= n;
    }
  }
}

const tables = new Map<number, { cos: Float64Array; sin: Float64Array }>();
function twiddles(n: number) {
  let table = tables.get(n);
  if (!table) {
    table = { cos: new Float64Array(n / 2), sin: new Float64Array(n / 2) };
    for (let k = 0; k < n / 2; k++) {
      table.cos[k] = Math.cos((-2 * Math.PI * k) / n);
      table.sin[k] = Math.sin((-2 * Math.PI * k) / n);
    }
    tables.set(n, table);
  }
  return table;
}

/** Linear convolution, cut to the length of `pcm` (overlap-add). */
export function convolved(pcm: Float32Array, response: Float32Array): Float32Array {
  const n = 2 ** Math.ceil(Math.log2(Math.max(16_384, 2 * response.length)));
  const block = n - response.length + 1;
  const [hr, hi] = [new Float64Array(n), new Float64Array(n)];
  hr.set(response);
  fft(hr, hi);
  const out = new Float32Array(pcm.length);
  const [re, im] = [new Float64Array(n), new Float64Array(n)];
  for (let start = 0; start < pcm.length; start += block) {
    re.fill(0);
    im.fill(0);
    re.set(pcm.subarray(start, start + block));
    fft(re, im);
    for (let i = 0; i < n; i++) {
      const real = re[i]! * hr[i]! - im[i]! * hi[i]!;
      im[i] = re[i]! * hi[i]! + im[i]! * hr[i]!;
      re[i] = real;
    }
    fft(re, im, true);
    const end = Math.min(n, pcm.length - start);
    for (let i = 0; i < end; i++) out[start + i]! += re[i]!;
  }
  return out;
}
