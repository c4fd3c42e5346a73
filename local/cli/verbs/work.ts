import { InvalidArgumentError, Option } from 'commander';
import { ModelError } from '../../../functions/core/errors.ts';
import { DEFAULT_MODEL } from '../../engine.ts';
import { StoreError } from '../../store/errors.ts';
import type { Terminal } from '../terminal.ts';

export const modelOption = (): Option =>
  new Option('--model <dir>', 'folder of the model; a deployment has its own')
    .env('REFRAIN_MODEL')
    .default(DEFAULT_MODEL, 'the one that comes along');

export const waitOption = (): Option =>
  new Option('--wait <minutes>', 'with --stack: how long to wait for an answer')
    .default(60)
    .argParser((text) => {
      const minutes = Number(text);
      if (text.trim() !== '' && minutes >= 0 && minutes <= 1440) return minutes;
      throw new InvalidArgumentError('It must be a number of minutes, 0 to 1440.');
    });

/** Whether the next file would fail for the same reason: the store, the model or a permission is at fault, not the file. */
export function endsTheBatch(error: unknown): boolean {
  if (error instanceof ModelError) return true;
  if (error instanceof StoreError) return error.code !== 'OBJECT_UNREADABLE';
  const { code, name, $fault } = (error ?? {}) as { code?: unknown; name?: unknown; $fault?: unknown };
  // No credentials, or no permission.
  if (name === 'CredentialsProviderError' || $fault === 'client') return true;
  return code === 'ENOSPC' || code === 'CATALOGUE_OPERATION';
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
