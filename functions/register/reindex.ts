import { refusalReasons } from '../core/admission.ts';
import type { ReindexProgress } from '../core/catalogue-state.ts';
import { RefrainError } from '../core/errors.ts';
import type { ModelManifest } from '../core/model.ts';
import type { Reference } from '../core/reference.ts';
import type { CatalogueRebuild, CatalogueUpkeep } from '../ports/catalogue-upkeep.ts';
import type { QueueSender } from '../ports/queue.ts';
import type { ReferenceStore } from '../ports/stores.ts';
import { forEachConcurrently } from '../steps/pool.ts';
import type { RegisterDependencies, RegisterRun } from './dependencies.ts';
import { listen } from './walk.ts';

const SENDING_AT_ONCE = 16;
const EXAMPLES = 5;

export interface ReindexDependencies {
  upkeep: CatalogueUpkeep & CatalogueRebuild;
  references: ReferenceStore;
  /** The register function's own requests. */
  requests: QueueSender;
  model: ModelManifest;
}

/** How long one step copies; the next one goes on. */
const COPYING_MS = 30_000;
const COPIES_AT_ONCE = 4;

/**
 * One step of making the catalogue's index anew, as an operator asks for it until it is done. What the live index has of
 * this model is copied, with the settings of today; what it does not have (all of it, where the index is lost), or has of
 * another model, is heard again. Only when every reference has its segments, in few graphs, does the new index take over:
 * no scan ever searches a part of the catalogue and calls it all, or has to search it in a hundred places.
 * @param ask whether to ask for what must be heard again; once will do, since requests that fail become dead letters
 */
export async function reindexStep(ask: boolean, deps: ReindexDependencies): Promise<ReindexProgress> {
  const { upkeep, requests } = deps;
  await upkeep.begin();
  await upkeep.catchUp();
  let missing = await missingIn(deps);
  const inTime = await copySome(missing.live, deps);
  if (!inTime) {
    const { live, next } = await upkeep.state();
    return { phase: 'copying', copied: next?.segments ?? 0, of: live?.segments ?? 0 };
  }

  if (missing.lost.length === 0) {
    if (!(await upkeep.mergeNext())) {
      return { phase: 'merging', graphs: (await upkeep.state()).next?.graphs ?? 0 };
    }
    const isComplete = async () => {
      missing = await missingIn(deps);
      return missing.live.length + missing.lost.length === 0;
    };
    if (await upkeep.takeOver(isComplete)) return { phase: 'done', live: (await upkeep.state()).live! };
  }
  if (ask) {
    await forEachConcurrently(missing.lost, SENDING_AT_ONCE, (referenceId) =>
      requests.send(JSON.stringify({ type: 'refrain.reindex.v1', referenceId })),
    );
  }
  return {
    phase: 'filling',
    missing: missing.live.length + missing.lost.length,
    asked: ask ? missing.lost.length : 0,
    examples: missing.lost.slice(0, EXAMPLES),
  };
}

/** @returns whether all of them are copied */
async function copySome(missing: Missing['live'], { upkeep }: ReindexDependencies): Promise<boolean> {
  const end = performance.now() + COPYING_MS;
  let copied = 0;
  await forEachConcurrently(missing, COPIES_AT_ONCE, async ({ referenceId, isNew }) => {
    if (performance.now() > end) return;
    await upkeep.copy(referenceId, isNew);
    copied++;
  });
  return copied === missing.length;
}

interface Missing {
  /** The live index has them; the new one has nothing of them, or something else. */
  live: { referenceId: string; isNew: boolean }[];
  /** Nobody has them, or not of this model. */
  lost: string[];
}

/** Which references still have to be written into the new index; what belongs to none is removed from it. */
async function missingIn({ upkeep, references, model }: ReindexDependencies): Promise<Missing> {
  // Counted before they are listed: a reference is on record before its segments are written.
  const [live, next] = [await upkeep.counts('live'), await upkeep.counts('next')];
  const strangers = new Set(next.keys());
  const missing: Missing = { live: [], lost: [] };
  for (let after: string | undefined; ; ) {
    const page = await references.list({ limit: 1000, ...(after !== undefined && { after }) });
    for (const { referenceId, state, segments, model: heardBy } of page.items) {
      if (state !== 'refused') strangers.delete(referenceId);
      if (state !== 'active' && state !== 'disabled') continue;
      const isOfThisModel = heardBy.sha256 === model.sha256;
      if (isOfThisModel && next.get(referenceId) === segments) continue;
      if (isOfThisModel && live.get(referenceId) === segments) {
        missing.live.push({ referenceId, isNew: !next.has(referenceId) });
      } else {
        missing.lost.push(referenceId);
      }
    }
    after = page.next;
    if (after === undefined) break;
  }
  // Lists lag behind: the records themselves have the last word.
  const known = await references.getMany([...strangers]);
  const into = await upkeep.next();
  for (const referenceId of strangers) {
    const { state = 'refused' } = known.get(referenceId) ?? {};
    if (state === 'refused') await into?.remove(referenceId);
  }
  return missing;
}

/**
 * Hears a reference again and writes its segments into the index that is being made. Its state stays as it is; of what
 * is live, nothing changes.
 * @returns `undefined` where there is nothing to do (any more): it was deleted, or the index has taken over
 * @throws RefrainError (NOT_HEARD_AGAIN) when the recording cannot be heard as it once was
 */
export async function reindexReference(
  referenceId: string,
  deps: RegisterDependencies & { upkeep: CatalogueRebuild },
  run: RegisterRun = {},
): Promise<Reference | undefined> {
  const { references, objects, upkeep, embedder } = deps;
  const reference = await references.get(referenceId);
  const into = await upkeep.next();
  if (!reference || !isAdmitted(reference) || !into) return undefined;

  const { source, contentId } = reference;
  const { listened, segments } = await objects.withFile(source, (path) =>
    listen(path, source.key, deps, run),
  );
  const reasons = refusalReasons(listened);
  if (reasons.length > 0) {
    throw new RefrainError(
      'NOT_HEARD_AGAIN',
      `reference ${referenceId} was admitted once, but is not any more: ${reasons.map(({ message }) => message).join('; ')}`,
    );
  }
  await into.remove(referenceId);
  await into.add(referenceId, segments);

  const latest = await references.get(referenceId);
  if (latest?.contentId !== contentId || !isAdmitted(latest)) {
    // Deleted or replaced meanwhile: whoever did that writes or removes the rest.
    await into.remove(referenceId);
    return undefined;
  }
  const { id, sha256 } = embedder.model;
  const heard: Reference = {
    ...latest,
    model: { id, sha256 },
    durationMs: listened.durationMs,
    segments: segments.segments.length,
  };
  await references.put(heard);
  return heard;
}

const isAdmitted = ({ state }: Reference): boolean => state === 'active' || state === 'disabled';
