import type { IndexState } from '../core/catalogue-state.ts';
import type { Reference, ReferenceMetadata } from '../core/reference.ts';
import type { Catalogue } from '../ports/catalogue.ts';
import type { Clock } from '../ports/clock.ts';
import type { Decoder } from '../ports/decoder.ts';
import type { Embedder } from '../ports/embedder.ts';
import type { EventBus } from '../ports/events.ts';
import type { Log } from '../ports/log.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import type { ReferenceStore } from '../ports/stores.ts';

/** Everything a registration needs of the outside world. */
export interface RegisterDependencies {
  objects: ObjectStore;
  decoder: Decoder;
  embedder: Embedder;
  catalogue: Catalogue;
  references: ReferenceStore;
  events: EventBus;
  clock: Clock;
  log: Log;
  settings: {
    /** Segments that are embedded at once. */
    windowSegments: number;
    concurrentWindows: number;
  };
}

/** What became of a request to register. */
export interface Registration {
  reference: Reference;
  /** `existing`: there was nothing to do. `updated`: it is there already, and only what is said of it changed. */
  outcome: 'admitted' | 'refused' | 'updated' | 'existing';
  /** What an update changed. */
  changed: (keyof ReferenceMetadata)[];
}

export interface RegisterHooks extends RegisterRun {
  /** The live index, before its graphs are merged. */
  onMerge?(live: IndexState): void;
  onRegistered?(registration: Registration): void;
  onFailure?(error: unknown): void;
}

export interface RegisterRun {
  signal?: AbortSignal;
  onProgress?(progress: { key: string; heardMs: number; claimedDurationMs?: number }): void;
}
