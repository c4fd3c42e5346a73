import type { Case } from '../core/case.ts';
import type { Policy } from '../core/policy.ts';
import type { Reference } from '../core/reference.ts';
import type { ScanRecord } from '../core/scan.ts';

/** A page of a long list; `next` is given back as `after` to go on. */
export interface Page<T> {
  items: T[];
  next?: string;
  /** Records of this page that are there but cannot be read back: which, and what is wrong with them. */
  damaged?: { id: string; message: string }[];
}

export interface PageRequest {
  limit?: number;
  after?: string;
}

export interface ReferenceStore {
  get(referenceId: string): Promise<Reference | undefined>;
  getMany(referenceIds: readonly string[]): Promise<Map<string, Reference>>;
  /** The reference that was made of this content, if any. */
  findByContent(contentId: string): Promise<Reference | undefined>;
  put(reference: Reference): Promise<void>;
  delete(referenceId: string): Promise<void>;
  list(page?: PageRequest): Promise<Page<Reference>>;
  /** The policy that an owner set for all their references. */
  ownerPolicy(owner: string): Promise<Policy | undefined>;
  putOwnerPolicy(owner: string, policy: Policy): Promise<void>;
}

export interface ScanStore {
  get(scanId: string): Promise<ScanRecord | undefined>;
  /**
   * Takes the scan for one worker until `untilMs` (epoch), creating it when it is new. Resolves to the record, or to
   * `undefined` while another worker holds it. A finished scan is returned without being taken.
   */
  claim(initial: ScanRecord, worker: string, nowMs: number, untilMs: number): Promise<ScanRecord | undefined>;
  /** Gives the scan back, so that another worker need not wait for the claim to run out. */
  release(scanId: string, worker: string): Promise<void>;
  /** Once it is announced, nobody holds it any more. */
  put(record: ScanRecord): Promise<void>;
  list(page?: PageRequest & { verdict?: ScanRecord['verdict'] }): Promise<Page<ScanRecord>>;

  /** Stores what one window yielded (opaque bytes). Writing the same window again replaces it. */
  putWindow(scanId: string, window: number, data: Uint8Array): Promise<void>;
  /** All stored windows, in order. */
  windows(scanId: string): AsyncIterable<{ window: number; data: Uint8Array }>;
  /** Forgets the windows of a finished scan. */
  deleteWindows(scanId: string): Promise<void>;
}

export interface CaseStore {
  get(caseId: string): Promise<Case | undefined>;
  /** Creates the case unless it exists; resolves to whether it was created. */
  create(item: Case): Promise<boolean>;
  /**
   * Replaces the case if its stored version is still `item.version - 1`.
   * @throws ConflictError
   */
  update(item: Case): Promise<void>;
  /** Highest priority first, then oldest first. */
  list(page?: PageRequest & { state?: Case['state'] }): Promise<Page<Case>>;
}
