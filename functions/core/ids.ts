import { createHash } from 'node:crypto';
import type { ObjectVersion } from './scan.ts';

// Deterministic names: a redelivery or a retry computes the same id and rewrites the same thing.

const name = (prefix: string, ...parts: string[]): string =>
  `${prefix}_${createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 24)}`;

/** The scan of this version of this object with this model. */
export const scanIdOf = (upload: ObjectVersion, modelId: string): string =>
  name('scan', upload.bucket, upload.key, upload.versionId ?? upload.etag ?? '', modelId);

export const detectionIdOf = (scanId: string, referenceId: string): string =>
  name('det', scanId, referenceId);

export const caseIdOf = (scanId: string, referenceId: string): string => name('case', scanId, referenceId);

/** The reference that is made of this content when the caller names none. */
export const referenceIdOf = (contentId: string): string => name('ref', contentId);
