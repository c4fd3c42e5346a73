import { type ChildProcess, spawn } from 'node:child_process';
import { type FileHandle, open } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { RejectedAudioError } from '../../core/errors.ts';
import type { TimeSpan } from '../../core/span.ts';
import type { DecodedAudio, DecodeOptions, Decoder, DecodeSummary, PcmBlock } from '../../ports/decoder.ts';
import { type DecodeJob, decodeMessages, type Message } from './messages.ts';

/** What one file may cost. */
export interface DecoderLimits {
  maxBytes: number;
  maxDurationMs: number;
  maxSampleRate: number;
  maxChannels: number;
  maxStreams: number;
  /** Memory for the content of one file, beside the 100 MB that an idle decoder takes. */
  memoryMb: number;
  /** Longest wait for any sign of life. */
  stallMs: number;
  /** Decoding may take `graceMs` and then as long as the audio lasts divided by `minSpeed`. Only waiting counts. */
  graceMs: number;
  minSpeed: number;
}

export const DEFAULT_DECODER_LIMITS: DecoderLimits = {
  maxBytes: 64 * 1024 ** 3,
  maxDurationMs: 24 * 3_600_000,
  maxSampleRate: 384_000,
  maxChannels: 64,
  maxStreams: 64,
  memoryMb: 512,
  stallMs: 30_000,
  graceMs: 60_000,
  minSpeed: 5,
};

/**
 * Decodes with FFmpeg in a process of its own for each file: hostile bytes meet native code there, and what they can
 * break is that process. It inherits one open file and one pipe, no environment and no path, may start no process,
 * and its memory, time and files are bounded by the system.
 */
export class MediaDecoder implements Decoder {
  readonly #limits: DecoderLimits;
  readonly #program: string | undefined;

  /** @param program what the processes run: `decode-child.ts` in one piece of JavaScript; otherwise the file itself */
  constructor(limits: Partial<DecoderLimits> = {}, program?: string) {
    this.#limits = { ...DEFAULT_DECODER_LIMITS, ...limits };
    this.#program = program;
  }

  /**
   * Besides what the port says, errors of the file system (`ENOENT`, `EACCES`) are thrown as they come. Whoever opens
   * a file iterates its blocks, or aborts the signal: until then the process waits.
   */
  async open(path: string, options: DecodeOptions): Promise<DecodedAudio> {
    options.signal?.throwIfAborted();
    const file = await open(path, 'r');
    let child: DecodingProcess;
    try {
      const job = await this.#jobFor(file, options);
      child = new DecodingProcess(file, job, this.#limits, this.#program, options.signal);
    } finally {
      await file.close();
    }
    return child.open();
  }

  async #jobFor(file: FileHandle, { sampleRate, startSample = 0 }: DecodeOptions): Promise<DecodeJob> {
    const { maxBytes, maxDurationMs, maxSampleRate, maxChannels, maxStreams } = this.#limits;
    const stat = await file.stat();
    if (!stat.isFile()) throw new RejectedAudioError('NOT_MEDIA', 'this is a folder or a device, not a file');
    if (stat.size === 0) throw new RejectedAudioError('EMPTY_FILE', 'the file is empty');
    if (stat.size > maxBytes) {
      throw new RejectedAudioError(
        'TOO_LARGE',
        `the file has ${stat.size} bytes; at most ${maxBytes} are accepted`,
      );
    }
    return {
      sampleRate,
      startSample,
      bytes: stat.size,
      maxDurationMs,
      maxSampleRate,
      maxChannels,
      maxStreams,
    };
  }
}

class DecodingProcess {
  readonly #child: ChildProcess;
  readonly #messages: AsyncGenerator<Message, void>;
  readonly #exited: Promise<void>;
  readonly #limits: DecoderLimits;
  readonly #sampleRate: number;
  readonly #signal: AbortSignal | undefined;
  /** Why we ended the child, if we did. */
  #cause: Error | undefined;
  #waitedMs = 0;
  #decodedMs = 0;
  #complaints = '';
  #summary = Promise.withResolvers<DecodeSummary>();

  constructor(
    file: FileHandle,
    job: DecodeJob,
    limits: DecoderLimits,
    program: string | undefined,
    signal: AbortSignal | undefined,
  ) {
    this.#limits = limits;
    this.#sampleRate = job.sampleRate;
    this.#signal = signal;
    const [command, ...parameters] = childCommand(job, limits, program === undefined);
    const child = spawn(command!, parameters, { env: {}, stdio: ['pipe', 'pipe', 'pipe', file.fd] });
    this.#child = child;
    child.stdin!.on('error', () => {}).end(program); // a process that dies before it has read is noticed below
    this.#messages = decodeMessages(child.stdout!);
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.#complaints = (this.#complaints + text).slice(-4000);
    });
    this.#exited = new Promise((done) => {
      child.once('close', () => done());
      child.once('error', (error) => {
        this.#cause ??= error;
        done();
      });
    });
    signal?.addEventListener('abort', this.#abort, { once: true });
    this.#summary.promise.catch(() => {}); // nobody may be listening
  }

  async open(): Promise<DecodedAudio> {
    try {
      const first = await this.#next();
      if (first.kind !== 'info') throw new Error(`the decoder began with ${first.kind}`);
      return { info: first.info, blocks: this.#blocks(), summary: this.#summary.promise };
    } catch (error) {
      await this.#end();
      this.#summary.reject(error);
      throw error;
    }
  }

  async *#blocks(): AsyncGenerator<PcmBlock, void> {
    let undecodable: TimeSpan[] = [];
    try {
      for (;;) {
        const message = await this.#next();
        if (message.kind === 'summary') {
          this.#summary.resolve(message.summary);
          if (undecodable.length > 0) {
            const startSample = Math.round((message.summary.durationMs * this.#sampleRate) / 1000);
            yield { startSample, pcm: new Float32Array(0), undecodable };
          }
          return;
        }
        if (message.kind === 'progress') this.#decodedMs = message.decodedMs;
        if (message.kind === 'undecodable') undecodable.push(message.span);
        if (message.kind !== 'pcm') continue;
        const { startSample, pcm } = message;
        this.#decodedMs = ((startSample + pcm.length) * 1000) / this.#sampleRate;
        yield { startSample, pcm, ...(undecodable.length > 0 && { undecodable }) };
        undecodable = [];
      }
    } catch (error) {
      this.#summary.reject(error);
      throw error;
    } finally {
      this.#summary.reject(new Error('the blocks were not read to the end'));
      await this.#end();
    }
  }

  /** The next message; what the child says of a bad file is thrown, and so is its death. */
  async #next(): Promise<Message> {
    const { stallMs, graceMs, minSpeed } = this.#limits;
    const since = performance.now();
    const left = graceMs + this.#decodedMs / minSpeed - this.#waitedMs;
    const timer = setTimeout(() => this.#kill(tooSlow()), Math.max(0, Math.min(stallMs, left)));
    try {
      const { value, done } = await this.#messages.next();
      if (done) throw await this.#whyItDied();
      if (value.kind === 'fault') throw new RejectedAudioError(value.code, value.message);
      return value;
    } finally {
      clearTimeout(timer);
      this.#waitedMs += performance.now() - since;
    }
  }

  async #whyItDied(): Promise<Error> {
    await this.#exited;
    if (this.#cause) return this.#cause;
    const { exitCode, signalCode } = this.#child;
    if (signalCode === 'SIGXCPU') return tooSlow();
    return new RejectedAudioError(
      'DECODER_CRASHED',
      `the file crashed its decoder (${signalCode ?? `exit code ${exitCode}`}); other files are not affected`,
      { cause: new Error(this.#complaints) },
    );
  }

  #abort = (): void => this.#kill(this.#signal!.reason);

  #kill(cause: Error): void {
    this.#cause ??= cause;
    this.#child.kill('SIGKILL');
  }

  async #end(): Promise<void> {
    this.#signal?.removeEventListener('abort', this.#abort);
    this.#child.kill('SIGKILL');
    await this.#messages.return();
    this.#child.stdout!.destroy();
    await this.#exited;
  }
}

function tooSlow(): RejectedAudioError {
  return new RejectedAudioError(
    'DECODE_TIMEOUT',
    'decoding got stuck or is too slow to finish; the file may be malicious',
  );
}

/** What Node sets aside at its start, mostly for machine code, and the system counts as data. Little of it is used. */
const V8_RESERVES_MB = 640;

/** The command of the child, with what the system lets it have. It reads its program from a file, or from fd 0. */
function childCommand(job: DecodeJob, limits: DecoderLimits, fromFile: boolean): string[] {
  const node = [
    process.execPath,
    '--permission', // no processes, no threads, no writing, no reading but its own code
    '--allow-addons',
    ...readable().map((folder) => `--allow-fs-read=${folder}`),
    '--max-old-space-size=64',
    '--no-warnings',
    ...(fromFile ? [fileURLToPath(CHILD)] : ['--input-type=module', '-']),
    JSON.stringify(job),
  ];
  if (process.platform === 'win32') return node;
  const seconds = Math.ceil((limits.graceMs + limits.maxDurationMs / limits.minSpeed) / 1000);
  const kilobytes = (V8_RESERVES_MB + limits.memoryMb) * 1024;
  // No core dumps, no bytes into files, so much data, so much processor time; also when nobody is left to kill it.
  const bounds = `ulimit -c 0; ulimit -f 0; ulimit -d ${kilobytes}; ulimit -t ${seconds}; exec "$@"`;
  return ['/bin/sh', '-c', bounds, 'sh', ...node];
}

const CHILD = new URL(
  import.meta.url.endsWith('.ts') ? './decode-child.ts' : './decode-child.mjs',
  import.meta.url,
);

/** What the child may read: its own code and FFmpeg's, which a bundle leaves in the media layer. */
function readable(): string[] {
  const folder = dirname(fileURLToPath(CHILD));
  if (CHILD.pathname.endsWith('.ts')) return [`${resolve(folder, '../../..')}/*`];
  return [`${folder}/*`, `${process.env.REFRAIN_NODE_MODULES ?? '/opt/nodejs/node_modules'}/*`];
}
