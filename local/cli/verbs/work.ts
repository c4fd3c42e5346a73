import { Option } from 'commander';
import { ModelError } from '../../../functions/core/errors.ts';
import { DEFAULT_MODEL } from '../../runtime.ts';
import { StoreError } from '../../store/errors.ts';
import type { Terminal } from '../terminal.ts';

export const modelOption = (): Option =>
  new Option('--model <dir>', 'folder of the model')
    .env('REFRAIN_MODEL')
    .default(DEFAULT_MODEL, 'the one that comes along');

/** Whether the next file would fail for the same reason: the store or the model is at fault, not the file. */
export function endsTheBatch(error: unknown): boolean {
  if (error instanceof ModelError) return true;
  if (error instanceof StoreError) return error.code !== 'OBJECT_UNREADABLE';
  return (error as { code?: unknown })?.code === 'ENOSPC';
}

/** Keeps the progress line of a batch; of a batch without an end when `files` is left out. */
export function trackProgress(terminal: Terminal, files = 1) {
  let file = 0;
  let current = '';
  let startedAt = 0;
  return {
    begin(path: string): void {
      file++;
      current = path;
      startedAt = Date.now();
      terminal.progress.show({ path, file, files, heardMs: 0, elapsedMs: 0 });
    },
    heard({ heardMs, claimedDurationMs }: { heardMs: number; claimedDurationMs?: number }): void {
      terminal.progress.show({
        path: current,
        file,
        files,
        heardMs,
        totalMs: claimedDurationMs,
        elapsedMs: Date.now() - startedAt,
      });
    },
  };
}
