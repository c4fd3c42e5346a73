import type { Case } from '../../functions/core/case.ts';
import type { Reference } from '../../functions/core/reference.ts';
import type { ScanRecord } from '../../functions/core/scan.ts';
import type { SegmentVectors } from '../../functions/core/segments.ts';

/** Names that break what quotes, escapes or splits carelessly. */
export const AWKWARD_NAMES = [
  'with space',
  `it's "quoted" \`so\``,
  'line\nbreak\ttab',
  'Дельта_音楽',
  'emoji 🎧👩‍🎤',
  'per%cent+plus&amp;=?#',
  '100%_of_it*',
  '{"json":[1]}',
  '-- ; DROP TABLE reference',
  // The same letters to the eye, composed and decomposed: two names.
  'caf\u00e9',
  'cafe\u0301',
];

/** Numbers in [0, 1) that are the same in every run. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** `rows` random directions. */
export function unitVectors(rows: number, dimension: number, seed: number): Float32Array {
  const random = seededRandom(seed);
  const gaussian = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  const vectors = Float32Array.from({ length: rows * dimension }, gaussian);
  for (let row = 0; row < rows; row++) {
    const vector = vectors.subarray(row * dimension, (row + 1) * dimension);
    const length = Math.hypot(...vector);
    for (let i = 0; i < dimension; i++) vector[i]! /= length;
  }
  return vectors;
}

/** Segments `first..first + rows - 1` with random vectors. */
export function segmentVectors(rows: number, dimension: number, seed: number, first = 0): SegmentVectors {
  return {
    segments: Uint32Array.from({ length: rows }, (_, i) => first + i),
    vectors: unitVectors(rows, dimension, seed),
  };
}

/** Some rows of a matrix. */
export function rowsOf(vectors: Float32Array, dimension: number, rows: readonly number[]): Float32Array {
  return Float32Array.from(
    rows.flatMap((row) => [...vectors.subarray(row * dimension, (row + 1) * dimension)]),
  );
}

const MODEL = { id: 'test-model', sha256: 'a'.repeat(64) };

/** Minute `n` of the tests' time. */
export const minute = (n: number): string => new Date(Date.UTC(2026, 0, 1, 0, n)).toISOString();

export function aReference(referenceId: string, changes: Partial<Reference> = {}): Reference {
  return {
    referenceId,
    state: 'active',
    reasons: [],
    source: { bucket: 'references', key: `${referenceId}.flac`, etag: 'e1', size: 1000 },
    contentId: `sha256:${Buffer.from(referenceId).toString('hex')}`,
    model: MODEL,
    durationMs: 180_000,
    segments: 358,
    excluded: [],
    registeredAt: minute(0),
    title: `Title of ${referenceId}`,
    ...changes,
  };
}

export function aScan(scanId: string, changes: Partial<ScanRecord> = {}): ScanRecord {
  return {
    scanId,
    upload: { bucket: 'uploads', key: 'upload.mp3', etag: 'e1', size: 1000 },
    model: MODEL,
    state: 'scanning',
    unsearched: [],
    detections: [],
    announced: false,
    attempts: 0,
    startedAt: minute(0),
    ...changes,
  };
}

export function aCase(caseId: string, changes: Partial<Case> = {}): Case {
  return {
    caseId,
    scanId: `scan of ${caseId}`,
    upload: { bucket: 'uploads', key: 'upload.mp3', etag: 'e1', size: 1000 },
    detection: {
      detectionId: `detection of ${caseId}`,
      referenceId: 'song',
      confidence: 0.9,
      coverage: { upload: 0.5, reference: 0.25 },
      matchedMs: 30_000,
      spans: [
        {
          uploadStartMs: 1000,
          uploadEndMs: 31_000,
          referenceStartMs: 5000,
          referenceEndMs: 35_000,
          speed: 1,
          confidence: 0.9,
        },
      ],
      action: 'review',
    },
    state: 'open',
    reasons: ['POLICY'],
    priority: 50,
    decisions: [],
    version: 0,
    openedAt: minute(0),
    ...changes,
  };
}

/** Follows `next` to the end; fails when a page is larger than asked for or the list never ends. */
export async function allPages<T>(
  limit: number,
  page: (request: { limit: number; after?: string }) => Promise<{ items: T[]; next?: string }>,
): Promise<T[]> {
  const items: T[] = [];
  let after: string | undefined;
  for (let pages = 0; pages < 1000; pages++) {
    const got = await page({ limit, ...(after !== undefined && { after }) });
    if (got.items.length > limit) throw new Error(`a page of ${got.items.length} items, asked for ${limit}`);
    items.push(...got.items);
    if (got.next === undefined) return items;
    after = got.next;
  }
  throw new Error('the list never ends');
}
