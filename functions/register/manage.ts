import { createHash } from 'node:crypto';
import { RefrainError } from '../core/errors.ts';
import type { Policy } from '../core/policy.ts';
import type { Reference } from '../core/reference.ts';
import { mergeSpans, type TimeSpan } from '../core/span.ts';
import type { Catalogue } from '../ports/catalogue.ts';
import type { Clock } from '../ports/clock.ts';
import type { EventBus } from '../ports/events.ts';
import type { ReferenceStore } from '../ports/stores.ts';

/** What a rights-holder gets in return for a deleted reference: what it was, and what was erased. */
export interface DeletionReceipt {
  receiptId: string;
  referenceId: string;
  title?: string;
  artist?: string;
  owner?: string;
  contentId: string;
  model: Reference['model'];
  /** Embeddings that were in the catalogue and are not any more. */
  segmentsErased: number;
  deletedAt: string;
}

/** @throws RefrainError REFERENCE_NOT_FOUND */
export async function getReference(referenceId: string, references: ReferenceStore): Promise<Reference> {
  const reference = await references.get(referenceId);
  if (reference) return reference;
  throw new RefrainError(
    'REFERENCE_NOT_FOUND',
    `there is no reference ${referenceId}; "refrain references" lists them`,
  );
}

/** Keeps the reference, but drops its matches from the next scan on; or lets it match again. */
export async function setEnabled(
  referenceId: string,
  enabled: boolean,
  references: ReferenceStore,
): Promise<Reference> {
  const reference = await getReference(referenceId, references);
  if (reference.state !== 'active' && reference.state !== 'disabled') {
    const why =
      reference.reasons.map(({ message }) => message).join('; ') || 'register it again to finish it';
    throw new RefrainError('NOT_ADMITTED', `reference ${referenceId} is ${reference.state}: ${why}`);
  }
  return put({ ...reference, state: enabled ? 'active' : 'disabled' }, references);
}

/** Takes a stretch out of the matching: a sample, or a part that is in the public domain. */
export async function excludeSpan(
  referenceId: string,
  span: TimeSpan,
  references: ReferenceStore,
): Promise<Reference> {
  const reference = await getReference(referenceId, references);
  const endMs = Math.min(span.endMs, reference.durationMs);
  if (endMs <= span.startMs) {
    throw new RefrainError(
      'BAD_SPAN',
      `${span.startMs / 1000} s to ${span.endMs / 1000} s is no part of reference ${referenceId}, ` +
        `which is ${reference.durationMs / 1000} s long`,
    );
  }
  return put(
    { ...reference, excluded: mergeSpans([...reference.excluded, { startMs: span.startMs, endMs }]) },
    references,
  );
}

export async function setPolicy(
  referenceId: string,
  policy: Policy,
  references: ReferenceStore,
): Promise<Reference> {
  return put({ ...(await getReference(referenceId, references)), policy }, references);
}

/**
 * Erases a reference: first its embeddings, then its record, so that a run that dies in between can be repeated.
 * Scans and cases keep its id, which says nothing about the recording.
 */
export async function deleteReference(
  referenceId: string,
  deps: {
    references: ReferenceStore;
    /** Those of all models: while a new model comes in, a reference is in two. */
    catalogues: readonly Pick<Catalogue, 'remove'>[];
    events: EventBus;
    clock: Clock;
  },
): Promise<DeletionReceipt> {
  const reference = await getReference(referenceId, deps.references);
  let segmentsErased = 0;
  for (const catalogue of deps.catalogues) segmentsErased += await catalogue.remove(referenceId);
  await deps.references.delete(referenceId);

  const { title, artist, owner, contentId, model } = reference;
  const deletedAt = deps.clock.now().toISOString();
  const hash = createHash('sha256').update(`${referenceId} ${contentId} ${deletedAt}`).digest('hex');
  const receipt: DeletionReceipt = {
    receiptId: `receipt_${hash.slice(0, 24)}`,
    referenceId,
    ...(title !== undefined && { title }),
    ...(artist !== undefined && { artist }),
    ...(owner !== undefined && { owner }),
    contentId,
    model,
    segmentsErased,
    deletedAt,
  };
  await deps.events.publish({
    specversion: '1.0',
    id: hash.slice(0, 32),
    source: '/refrain/references',
    type: 'refrain.reference.deleted.v1',
    subject: `reference/${referenceId}`,
    time: deletedAt,
    datacontenttype: 'application/json',
    data: { schemaVersion: '1.0.0', ...receipt },
  });
  return receipt;
}

async function put(reference: Reference, references: ReferenceStore): Promise<Reference> {
  await references.put(reference);
  return reference;
}
