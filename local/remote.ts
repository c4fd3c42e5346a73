import { basename } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Deployment } from '../functions/adapters/aws/deployment.ts';
import { RefrainError } from '../functions/core/errors.ts';
import { scanIdOf } from '../functions/core/ids.ts';
import type { Reference, ReferenceMetadata } from '../functions/core/reference.ts';
import { objectCreated } from '../functions/core/requests.ts';
import type { ScanRecord } from '../functions/core/scan.ts';
import { systemClock } from '../functions/ports/clock.ts';
import type { ReferenceStore } from '../functions/ports/stores.ts';
import type { Registration } from '../functions/register/dependencies.ts';
import { changesOf, findKnown } from '../functions/register/walk.ts';
import { contentIdOf } from '../functions/steps/content-id.ts';
import { replay } from '../functions/steps/replay.ts';
import { type Engine, type RegisterInput, refuseSidecar } from './engine.ts';

/** Uploads that wait for their answers at once: enough to keep a link busy, and no flood. */
const CONCURRENCY = 8;
/** How long the catalogue is taken to be as it was: for the files of a folder, but not for the days of a watch. */
const STATE_MS = 5000;
const POLL_MS = { first: 250, longest: 5000 };

export interface RemoteOptions {
  /** How long to wait for one answer, ms. */
  waitMs: number;
  /** Ends the waiting; what was uploaded is worked on all the same. */
  signal?: AbortSignal;
}

/**
 * Refrain in AWS, as somebody uses it who has files on this machine: they go into the buckets, as everything does there,
 * and the records say when they are done. Keys name the content of a file, so that the same command again uploads nothing
 * and takes up where it was left.
 */
export class RemoteRuntime implements Engine {
  readonly concurrency = CONCURRENCY;
  readonly #deployment: Deployment;
  readonly #options: RemoteOptions;
  /** Asked rarely: it takes a run of a function. */
  #catalogue: { state: ReturnType<Deployment['catalogue']['state']>; askedAt: number } | undefined;

  constructor(deployment: Deployment, options: RemoteOptions) {
    this.#deployment = deployment;
    this.#options = options;
  }

  get references(): ReferenceStore {
    return this.#deployment.references;
  }

  async isEmpty(): Promise<boolean> {
    const { live } = await this.#catalogueState();
    return !live?.references;
  }

  /** A deployment searches the index of its own model, and has none of it before that holds every recording (`aws reindex`). */
  async outdated(): Promise<number> {
    return 0;
  }

  /** What is said of the recording goes before it, as its sidecar: `KEY.json`. */
  async register({ path, referenceId, metadata = {} }: RegisterInput): Promise<Registration> {
    refuseSidecar(path);
    const { references, registerRequests, recordings } = this.#deployment;
    const contentId = await contentIdOf(path);
    const known = await findKnown(referenceId, contentId, references);
    const isSettled = known !== undefined && this.#isSettled(known);
    const { changed } = isSettled ? changesOf(known, metadata) : { changed: [] };
    if (isSettled && changed.length === 0) return { reference: known, outcome: 'existing', changed };
    // As the registration itself will say, so that an earlier refusal is not taken for its answer.
    if (known?.state === 'refused') await references.put({ ...known, state: 'registering', reasons: [] });

    const key = keyOf(contentId, path);
    const there = await recordings.find(key);
    const sidecar = { ...(referenceId !== undefined && { id: referenceId }), ...metadata };
    const isDescribed = Object.keys(sidecar).length > 0;
    if (isDescribed) await recordings.putText(`${key}.json`, JSON.stringify(sidecar));
    if (!there) await recordings.put(key, path, this.#options.signal);
    else if (!isDescribed) await registerRequests.send(objectCreated(there));

    const reference = await this.#follow(path, async () => {
      const found = await findKnown(referenceId, contentId, references);
      return found && this.#isRegistered(found, metadata) ? found : undefined;
    });
    if (reference.state === 'refused') return { reference, outcome: 'refused', changed: [] };
    return { reference, outcome: isSettled ? 'updated' : 'admitted', changed };
  }

  async scan(path: string, { again = false } = {}): Promise<ScanRecord> {
    const { scans, uploads, scanRequests, outputs } = this.#deployment;
    const key = keyOf(await contentIdOf(path), path);
    const there = await uploads.find(key);
    const upload = there ?? (await uploads.put(key, path, this.#options.signal));
    const scanId = scanIdOf(upload, outputs.modelId);
    if (there) {
      const scan = await scans.get(scanId);
      if (scan?.state === 'done' && !again && (await this.#isFresh(scan))) return scan;
      if (scan) {
        const { model } = await this.#catalogueState();
        await replay(scan, model, { scans, scanRequests, clock: systemClock });
      } else {
        await scanRequests.send(objectCreated(upload));
      }
    }
    return this.followScan(scanId, path);
  }

  /**
   * The record of a scan once everybody has been told of it.
   * @throws RefrainError (NOT_FINISHED)
   */
  followScan(scanId: string, what = scanId): Promise<ScanRecord> {
    return this.#follow(what, async () => {
      const scan = await this.#deployment.scans.get(scanId);
      return scan?.announced ? scan : undefined;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  async #follow<T>(what: string, look: () => Promise<T | undefined>): Promise<T> {
    const { waitMs, signal } = this.#options;
    const { stack } = this.#deployment;
    const end = Date.now() + waitMs;
    for (let pauseMs = POLL_MS.first; ; pauseMs = Math.min(POLL_MS.longest, pauseMs * 1.3)) {
      signal?.throwIfAborted();
      const found = await look();
      if (found !== undefined) return found;
      if (Date.now() + pauseMs > end) {
        throw new RefrainError(
          'NOT_FINISHED',
          `${what} is uploaded, but not finished within ${waitMs / 60_000} minutes (--wait). It is worked on all the ` +
            `same: the same command waits on; "refrain aws status --stack ${stack}" says what holds it up`,
        );
      }
      await sleep(pauseMs, undefined, { ...(signal && { signal }) });
    }
  }

  /** A verdict rests on the catalogue as it was. */
  async #isFresh(scan: ScanRecord): Promise<boolean> {
    const { live, model } = await this.#catalogueState();
    return scan.indexGeneration === live?.generation && scan.model.sha256 === model.sha256;
  }

  #catalogueState() {
    if (!this.#catalogue || performance.now() - this.#catalogue.askedAt > STATE_MS) {
      this.#catalogue = { state: this.#deployment.catalogue.state(), askedAt: performance.now() };
    }
    return this.#catalogue.state;
  }

  /** Whether the deployed model knows it. */
  #isSettled({ state, model }: Reference): boolean {
    return (state === 'active' || state === 'disabled') && model.id === this.#deployment.outputs.modelId;
  }

  #isRegistered(found: Reference, metadata: ReferenceMetadata): boolean {
    if (found.state === 'refused') return true;
    return this.#isSettled(found) && changesOf(found, metadata).changed.length === 0;
  }
}

/** By its content, and by its name for people. */
const keyOf = (contentId: string, path: string): string =>
  `cli/${contentId.replace(/^\w+:/, '')}/${basename(path)}`;
