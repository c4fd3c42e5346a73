import type { ScanRecord } from '../core/scan.ts';
import type { Catalogue } from '../ports/catalogue.ts';
import type { Clock } from '../ports/clock.ts';
import type { Decoder } from '../ports/decoder.ts';
import type { Embedder } from '../ports/embedder.ts';
import type { EventBus } from '../ports/events.ts';
import type { Log } from '../ports/log.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import type { QueueSender } from '../ports/queue.ts';
import type { CaseStore, ReferenceStore, ScanStore } from '../ports/stores.ts';

export interface ScanSettings {
  /** Segments per window: what is embedded, searched and stored at once. */
  windowSegments: number;
  /** Windows in work at the same time. */
  concurrentWindows: number;
  /** Neighbours asked for per segment (k). The alignment is calibrated with this many. */
  neighbours: number;
  /** Every so many-th segment is asked first, and others only where that leaves doubt; 1 asks for all of them. */
  stride: number;
  /** All are asked where the catalogue has fewer segments than this: it costs little there, and loses matches otherwise. */
  strideFrom: number;
  /** How long a claim on a scan lasts without news, ms: above the longest time one run may take. */
  claimMs: number;
  /** A run hands over to the next one when less than this is left of its time, ms. */
  reserveMs: number;
}

export const DEFAULT_SCAN_SETTINGS: ScanSettings = {
  windowSegments: 120,
  concurrentWindows: 2,
  neighbours: 20,
  stride: 5,
  strideFrom: 50_000,
  claimMs: 15 * 60_000,
  reserveMs: 20_000,
};

/** Everything a scan needs of the outside world. */
export interface ScanDependencies {
  objects: ObjectStore;
  decoder: Decoder;
  embedder: Embedder;
  catalogue: Catalogue;
  references: ReferenceStore;
  scans: ScanStore;
  cases: CaseStore;
  /** Where this function's own requests come from: a scan that runs out of time goes back there. */
  scanRequests: QueueSender;
  reviewQueue: QueueSender;
  events: EventBus;
  clock: Clock;
  log: Log;
  settings: ScanSettings;
}

/** What one invocation knows of itself. */
export interface ScanRun {
  /** Names this run in claims. */
  worker: string;
  /** Time that is left, ms. */
  remainingMs(): number;
  signal?: AbortSignal;
  onProgress?(progress: ScanProgress): void;
}

/** What a host that sits beside the function, such as the command line, may want to see of its runs. */
export type ScanHooks = Pick<ScanRun, 'signal' | 'onProgress'> & {
  onFinished?(scan: ScanRecord): void;
  onFailure?(error: unknown): void;
};

export interface ScanProgress {
  upload: { bucket: string; key: string };
  heardMs: number;
  claimedDurationMs?: number;
}
