import { isDeepStrictEqual } from 'node:util';
import { refusalReasons } from '../core/admission.ts';
import { RejectedAudioError } from '../core/errors.ts';
import { referenceIdOf } from '../core/ids.ts';
import { Isrc, type Reference, type ReferenceMetadata } from '../core/reference.ts';
import type { RegisterRequest } from '../core/requests.ts';
import type { ObjectVersion, Reason } from '../core/scan.ts';
import { SegmentGrid } from '../core/segment-grid.ts';
import { mergeSpans } from '../core/span.ts';
import { type Listened, sumUp } from '../core/verdict.ts';
import type { SegmentVectors } from '../ports/catalogue.ts';
import type { ReferenceStore } from '../ports/stores.ts';
import { contentIdOf } from '../steps/content-id.ts';
import { embedWindow } from '../steps/embed-window.ts';
import { forEachConcurrently } from '../steps/pool.ts';
import { windowsOf } from '../steps/windows.ts';
import type { RegisterDependencies, RegisterRun, Registration } from './dependencies.ts';

/**
 * The walk of a registration: name it, listen to it, decide whether it may enter, write its segments, then let it be
 * found. It may die at any point and be called again: the reference only becomes `active` once all its segments are
 * durable, and every write is idempotent.
 *
 * The same content is registered once: a second request for it updates what is said of the reference that exists,
 * unless the caller names another id. A refusal is not the last word: the next request tries again.
 *
 * @throws ObjectNotFoundError
 */
export async function registerReference(
  request: Omit<RegisterRequest, 'type'>,
  deps: RegisterDependencies,
  run: RegisterRun = {},
): Promise<Registration> {
  const { metadata } = request;
  const object = await deps.objects.describe(request.object);
  return deps.objects.withFile(object, async (path) => {
    const contentId = await contentIdOf(path);
    const known = await findKnown(request.referenceId, contentId, deps.references);
    if (known && isSettled(known, deps)) return update(known, metadata, deps);

    const { id, sha256 } = deps.embedder.model;
    const source = pick(object);
    const model = { id, sha256 };
    const begun = describedBy(metadata, {
      ...known,
      referenceId: request.referenceId ?? known?.referenceId ?? referenceIdOf(contentId),
      source,
      contentId,
      excluded: known?.excluded ?? [],
      registeredAt: known?.registeredAt ?? deps.clock.now().toISOString(),
      // What is disabled must not match for a moment, not even when this run dies: it stays as it is until the end.
      ...(known?.state === 'disabled'
        ? known
        : { state: 'registering', reasons: [], model, durationMs: 0, segments: 0 }),
    });
    await deps.references.put(begun);

    const { listened, segments, tags } = await listen(path, request.object.key, deps, run);
    const reasons = refusalReasons(listened);
    const isAdmitted = reasons.length === 0;
    // A reference that takes over an id must not keep segments of the one before.
    await deps.catalogue.remove(begun.referenceId);
    if (isAdmitted) await deps.catalogue.add(begun.referenceId, segments);

    // A sidecar that came after its file may have been handled meanwhile.
    const latest = await deps.references.get(begun.referenceId);
    const described = latest?.contentId === contentId ? latest : begun;
    const reference: Reference = {
      ...fromTags(tags),
      ...described,
      state: !isAdmitted ? 'refused' : begun.state === 'disabled' ? 'disabled' : 'active',
      reasons,
      model,
      durationMs: listened.durationMs,
      segments: isAdmitted ? segments.segments.length : 0,
    };
    await deps.references.put(reference);
    return { reference, outcome: isAdmitted ? 'admitted' : 'refused', changed: [] };
  });
}

/** The reference that was made, or was to be made, of this very content. */
export async function findKnown(
  referenceId: string | undefined,
  contentId: string,
  references: ReferenceStore,
): Promise<Reference | undefined> {
  const found = referenceId ? await references.get(referenceId) : await references.findByContent(contentId);
  return found?.contentId === contentId ? found : undefined;
}

/** Whether the segments of this model are in the catalogue. */
const isSettled = ({ state, model }: Reference, { embedder }: RegisterDependencies): boolean =>
  (state === 'active' || state === 'disabled') && model.sha256 === embedder.model.sha256;

async function update(
  known: Reference,
  metadata: ReferenceMetadata,
  { references }: RegisterDependencies,
): Promise<Registration> {
  const { reference, changed } = changesOf(known, metadata);
  if (changed.length === 0) return { reference: known, outcome: 'existing', changed };
  await references.put(reference);
  return { reference, outcome: 'updated', changed };
}

/** What the caller's words make of a reference, and which of them are news. */
export function changesOf(
  known: Reference,
  metadata: ReferenceMetadata,
): { reference: Reference; changed: (keyof ReferenceMetadata)[] } {
  const reference = describedBy(metadata, known);
  const told = Object.keys(metadata) as (keyof ReferenceMetadata)[];
  return { reference, changed: told.filter((name) => !isDeepStrictEqual(reference[name], known[name])) };
}

/** What the caller says replaces what was known; what the caller leaves out stays. */
const describedBy = (metadata: ReferenceMetadata, reference: Reference): Reference => ({
  ...reference,
  ...metadata,
  excluded: mergeSpans(metadata.excluded ?? reference.excluded),
});

interface HeardReference {
  listened: Listened;
  segments: SegmentVectors;
  tags: Record<string, string>;
}

/** Everything that is to be heard of a recording; one that cannot be decoded is told so, and does not throw. */
export async function listen(
  path: string,
  key: string,
  deps: RegisterDependencies,
  run: RegisterRun,
): Promise<HeardReference> {
  const { embedder, decoder, settings } = deps;
  const grid = new SegmentGrid(embedder.model);
  const windows: { index: number; heard: SegmentVectors }[] = [];
  let tags: Record<string, string> = {};
  try {
    const audio = await decoder.open(path, {
      sampleRate: grid.sampleRate,
      ...(run.signal && { signal: run.signal }),
    });
    tags = audio.info.tags;
    await forEachConcurrently(
      windowsOf(audio.blocks, grid, settings.windowSegments),
      settings.concurrentWindows,
      async (window) => {
        run.signal?.throwIfAborted();
        windows.push({ index: window.index, heard: await embedWindow(window, embedder) });
        run.onProgress?.({
          key,
          heardMs: grid.startMs(window.firstSegment) + (window.pcm.length * 1000) / grid.sampleRate,
          ...(audio.info.claimedDurationMs && { claimedDurationMs: audio.info.claimedDurationMs }),
        });
      },
    );
    const summary = await audio.summary;
    const segments = join(
      windows.sort((a, b) => a.index - b.index).map(({ heard }) => heard),
      embedder.model.dimension,
    );
    const listened = sumUp(segments.segments, summary.undecodable, summary, grid);
    return { listened, segments, tags };
  } catch (error) {
    if (!(error instanceof RejectedAudioError)) throw error;
    return { listened: unheard({ code: error.code, message: error.message }), segments: join([], 0), tags };
  }
}

const unheard = (brokeOff: Reason): Listened => ({
  durationMs: 0,
  searchedMs: 0,
  unsearched: [],
  truncated: false,
  tooShort: true,
  brokeOff,
});

function join(parts: readonly SegmentVectors[], dimension: number): SegmentVectors {
  const rows = parts.reduce((sum, part) => sum + part.segments.length, 0);
  const segments = new Uint32Array(rows);
  const vectors = new Float32Array(rows * dimension);
  let row = 0;
  for (const part of parts) {
    segments.set(part.segments, row);
    vectors.set(part.vectors, row * dimension);
    row += part.segments.length;
  }
  return { segments, vectors };
}

/** What the file says of itself; the caller's metadata wins over it. */
function fromTags(tags: Record<string, string>): ReferenceMetadata {
  const isrc = Isrc.safeParse(tags.isrc ?? tags.tsrc ?? '');
  return {
    ...(tags.title && { title: tags.title }),
    ...(tags.artist && { artist: tags.artist }),
    ...(tags.album && { album: tags.album }),
    ...(isrc.success && { isrc: isrc.data }),
  };
}

function pick({ bucket, key, versionId, etag, size }: ObjectVersion): ObjectVersion {
  return {
    bucket,
    key,
    ...(versionId && { versionId }),
    ...(etag && { etag }),
    ...(size !== undefined && { size }),
  };
}
