import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import { RefrainError } from '../functions/core/errors.ts';
import { scanIdOf } from '../functions/core/ids.ts';
import { objectCreated, type RegisterRequest } from '../functions/core/requests.ts';
import type { ScanRecord } from '../functions/core/scan.ts';
import { OnnxModel } from '../functions/embed/onnx-model.ts';
import { systemClock } from '../functions/ports/clock.ts';
import type { Decoder } from '../functions/ports/decoder.ts';
import type { Log } from '../functions/ports/log.ts';
import type { ReferenceStore } from '../functions/ports/stores.ts';
import type { Registration } from '../functions/register/dependencies.ts';
import { createRegisterHandler } from '../functions/register/handler.ts';
import { DEFAULT_SCAN_SETTINGS, type ScanDependencies } from '../functions/scan/dependencies.ts';
import { createScanHandler } from '../functions/scan/handler.ts';
import { begunAnew } from '../functions/steps/replay.ts';
import { openStore, type Store } from './adapters/store.ts';
import { localDecoder } from './decoder.ts';
import { DEFAULT_MODEL, type Engine, type RegisterInput, refuseSidecar } from './engine.ts';
import { drain } from './worker.ts';

export { DEFAULT_MODEL };

export interface RuntimeOptions {
  storeDir: string;
  modelDir?: string;
  /** Ends the work in hand; what is stored stays, and the next run goes on from there. */
  signal?: AbortSignal;
  log?: Log;
  onProgress?(progress: { path: string; heardMs: number; claimedDurationMs?: number }): void;
}

/**
 * Refrain on one machine: the functions that run on Lambda, on a store folder instead of AWS. Every file goes the way
 * that an upload to S3 goes: an event into a queue, and from there through the handler.
 */
export class Runtime implements Engine {
  readonly store: Store;
  readonly model: OnnxModel;
  /** The cores are busy with one file. */
  readonly concurrency = 1;
  readonly #dependencies: ScanDependencies;
  readonly #options: RuntimeOptions;
  #lastFailure: unknown;

  private constructor(store: Store, model: OnnxModel, decoder: Decoder, options: RuntimeOptions) {
    this.store = store;
    this.model = model;
    this.#options = options;
    this.#dependencies = {
      objects: store.objects,
      decoder,
      embedder: model,
      catalogue: store.catalogue(model.model),
      references: store.references,
      scans: store.scans,
      cases: store.cases,
      scanRequests: store.queue('scan-requests'),
      reviewQueue: store.queue('review'),
      events: store.events,
      clock: systemClock,
      log: options.log ?? silent,
      settings: DEFAULT_SCAN_SETTINGS,
    };
  }

  /**
   * Opens (or creates) the store and loads the model.
   * @throws StoreError, ModelError
   */
  static async open(options: RuntimeOptions): Promise<Runtime> {
    const model = await OnnxModel.load(options.modelDir ?? DEFAULT_MODEL, {
      // One core decodes, the others embed.
      threads: Math.max(1, Math.min(4, availableParallelism() - 1)),
    });
    const store = await openStore(options.storeDir, { mode: 'write' });
    return new Runtime(store, model, await localDecoder(), options);
  }

  async register({ path, referenceId, metadata = {} }: RegisterInput): Promise<Registration> {
    refuseSidecar(path);
    const queue = this.store.queue('register-requests');
    const object = await this.store.objects.describe(fileObject(path));
    const request: RegisterRequest = {
      type: 'refrain.register.v1',
      object,
      metadata,
      ...(referenceId !== undefined && { referenceId }),
    };
    await queue.send(JSON.stringify(request));

    let registered: Registration | undefined;
    const admitted = new Set<string>();
    const handler = createRegisterHandler(this.#dependencies, {
      ...this.#hooks(),
      onProgress: ({ key, ...progress }) => this.#options.onProgress?.({ path: key, ...progress }),
      // The queue may still hold what an earlier run left, most likely the same file; the last one is ours.
      onRegistered: (registration) => {
        const { outcome, reference } = registration;
        if (outcome === 'admitted') admitted.add(reference.referenceId);
        registered = admitted.has(reference.referenceId)
          ? { ...registration, outcome: 'admitted', changed: [] }
          : registration;
      },
    });
    this.#lastFailure = undefined;
    await drain(queue, handler, this.#options.signal);
    if (!registered || this.#lastFailure) throw this.#failure(path);
    return registered;
  }

  async scan(path: string, { again = false } = {}): Promise<ScanRecord> {
    const { scans, objects } = this.store;
    const queue = this.store.queue('scan-requests');
    const upload = await objects.describe(fileObject(path));
    const scanId = scanIdOf(upload, this.model.model.id);
    await this.#forgetIfStale(scanId, again);
    await queue.send(objectCreated(upload));

    const handler = createScanHandler(this.#dependencies, {
      ...this.#hooks(),
      onProgress: ({ upload: { key }, ...progress }) =>
        this.#options.onProgress?.({ path: key, ...progress }),
    });
    this.#lastFailure = undefined;
    await drain(queue, handler, this.#options.signal);
    const scan = await scans.get(scanId);
    if (scan?.state !== 'done') throw this.#failure(path);
    return scan;
  }

  get references(): ReferenceStore {
    return this.store.references;
  }

  async isEmpty(): Promise<boolean> {
    const { references } = await this.#dependencies.catalogue.stats();
    return references === 0;
  }

  async outdated(): Promise<number> {
    return this.store.references.countActiveOfOtherModels(this.model.model.sha256);
  }

  async close(): Promise<void> {
    await this.store.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** A verdict rests on the catalogue as it was; when that has changed, the scan starts over under its old name. */
  async #forgetIfStale(scanId: string, again: boolean): Promise<void> {
    const scan = await this.store.scans.get(scanId);
    if (scan?.state !== 'done') return;
    const { generation } = await this.#dependencies.catalogue.stats();
    if (!again && scan.indexGeneration === generation && scan.model.sha256 === this.model.model.sha256)
      return;
    await this.store.scans.put(begunAnew(scan, this.model.model, systemClock.now()));
  }

  #hooks() {
    const { signal } = this.#options;
    return {
      ...(signal && { signal }),
      onFailure: (error: unknown) => {
        this.#lastFailure = error;
      },
    };
  }

  #failure(path: string): unknown {
    this.#options.signal?.throwIfAborted();
    return (
      this.#lastFailure ?? new RefrainError('NOT_FINISHED', `${path} was not finished; run the command again`)
    );
  }
}

/** Files of this machine are objects of the bucket `files`, named by their absolute path. */
const fileObject = (path: string) => ({ bucket: 'files', key: resolve(path) });

const silent: Log = { debug() {}, info() {}, warn() {}, error() {} };
