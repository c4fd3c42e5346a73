import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { openStore, type Store, type StoreOptions } from '../../local/adapters/store.ts';

/** A folder for one test. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'refrain-test-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A store that is closed when the test ends. */
export async function temporaryStore(
  folder = temporaryFolder(),
  options: StoreOptions = { mode: 'write' },
): Promise<Store> {
  const store = await openStore(folder, options);
  onTestFinished(() => store.close());
  return store;
}
