import { join } from 'node:path';
import { MODEL } from '../functions/constants.ts';
import { RefrainError } from '../functions/core/errors.ts';
import type { ReferenceMetadata } from '../functions/core/reference.ts';
import type { ScanRecord } from '../functions/core/scan.ts';
import type { ReferenceStore } from '../functions/ports/stores.ts';
import type { Registration } from '../functions/register/dependencies.ts';
import { isSidecar } from '../functions/register/sidecar.ts';

/** The folder of the model that comes along. */
export const DEFAULT_MODEL = join(import.meta.dirname, '../models', MODEL);

/** What registers and scans files: this machine (`Runtime`), or a deployment in AWS (`RemoteRuntime`). */
export interface Engine extends AsyncDisposable {
  readonly references: ReferenceStore;
  /** Files that are worth having in work at once. */
  readonly concurrency: number;

  /**
   * Registers one file. Of what is in the catalogue already, only the metadata is brought up to date.
   * @throws ObjectNotFoundError, or whatever kept failing
   */
  register(input: RegisterInput): Promise<Registration>;

  /**
   * Scans one file. A finished scan of the same file is returned as it is while the catalogue has not changed.
   * @throws ObjectNotFoundError, or whatever kept failing
   */
  scan(path: string, options?: { again?: boolean }): Promise<ScanRecord>;

  /** Whether there is nothing that could be found. */
  isEmpty(): Promise<boolean>;

  /** How many active recordings were registered with another model: nothing of them can be found with this one. */
  outdated(): Promise<number>;
}

export interface RegisterInput {
  path: string;
  referenceId?: string;
  metadata?: ReferenceMetadata;
}

/** @throws RefrainError (NOT_MEDIA) */
export function refuseSidecar(path: string): void {
  if (!isSidecar(path)) return;
  throw new RefrainError('NOT_MEDIA', 'a .json file describes a recording and is none; see --metadata');
}
