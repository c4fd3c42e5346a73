import { type FileHandle, mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { RefrainError } from '../core/errors.ts';
import type { PcmBlock } from '../ports/decoder.ts';
import { Varispeed } from '../steps/varispeed.ts';

/** Seconds that are played at once. */
const BLOCK_SECONDS = 2;

/**
 * The sound of one upload, kept by one run: decoding costs more than all else that asking at another speed takes, so
 * that it is done once. Lies in a scratch file without a name (16 bit, 115 MB an hour at 16 kHz), which is gone with
 * the run, however that ends.
 */
export class Tape implements AsyncDisposable {
  readonly #file: FileHandle;
  readonly #sampleRate: number;
  #samples = 0;
  #hasBeginning = false;

  private constructor(file: FileHandle, sampleRate: number) {
    this.#file = file;
    this.#sampleRate = sampleRate;
  }

  static async create(sampleRate: number): Promise<Tape> {
    const folder = await mkdtemp(join(tmpdir(), 'refrain-tape-'));
    try {
      return new Tape(await open(join(folder, 'pcm'), 'w+', 0o600), sampleRate);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  /** Whether somebody has recorded on it, from the start of the upload to where it can be read no further. */
  get isRecorded(): boolean {
    return this.#hasBeginning;
  }

  get durationMs(): number {
    return (this.#samples * 1000) / this.#sampleRate;
  }

  /** Hands blocks on, and keeps what passes by. They begin at the start of the upload. */
  async *record(blocks: AsyncIterable<PcmBlock>): AsyncGenerator<PcmBlock, void> {
    this.#hasBeginning = true;
    this.#samples = 0;
    for await (const block of blocks) {
      await this.#write(block.pcm);
      yield block;
    }
  }

  /**
   * Plays the recording slowed down by the factor `speed`, as the model then hears an upload that is that much too fast.
   * @param startSample the first sample wanted, on the clock of what is played
   */
  async *play(speed: number, startSample = 0): AsyncGenerator<PcmBlock, void> {
    const varispeed = new Varispeed(speed);
    const end = varispeed.lengthOf(this.#samples);
    for (let at = startSample; at < end; at += BLOCK_SECONDS * this.#sampleRate) {
      const samples = Math.min(BLOCK_SECONDS * this.#sampleRate, end - at);
      const wanted = varispeed.inputFor(at, samples);
      const input = await this.#read(wanted.start, wanted.samples);
      yield { startSample: at, pcm: varispeed.play(input, at, samples) };
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
  }

  async #write(pcm: Float32Array): Promise<void> {
    const samples = new Int16Array(pcm.length);
    for (let i = 0; i < pcm.length; i++) samples[i] = Math.round(pcm[i]! * 32_767);
    const bytes = Buffer.from(samples.buffer);
    try {
      for (let written = 0; written < bytes.length; ) {
        const position = this.#samples * 2 + written;
        written += (await this.#file.write(bytes, written, bytes.length - written, position)).bytesWritten;
      }
    } catch (cause) {
      throw new RefrainError(
        'SCRATCH_DISK',
        `the sound of the upload cannot be kept in ${tmpdir()}: ${(cause as Error).message}; make room there, or set TMPDIR`,
        { cause },
      );
    }
    this.#samples += pcm.length;
  }

  /** Silence lies before the start and behind the end. */
  async #read(start: number, samples: number): Promise<Float32Array> {
    const pcm = new Float32Array(samples);
    const from = Math.max(0, start);
    const to = Math.min(this.#samples, start + samples);
    if (to <= from) return pcm;
    const stored = new Int16Array(to - from);
    const bytes = Buffer.from(stored.buffer);
    for (let read = 0; read < bytes.length; ) {
      const { bytesRead } = await this.#file.read(bytes, read, bytes.length - read, from * 2 + read);
      if (bytesRead === 0) throw new Error('the scratch file of this scan was cut off');
      read += bytesRead;
    }
    for (let i = 0; i < stored.length; i++) pcm[from - start + i] = stored[i]! / 32_767;
    return pcm;
  }
}
