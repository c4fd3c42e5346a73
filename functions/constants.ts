/**
 * Names and limits that the functions and the infrastructure share: each is written once.
 *
 * Nothing here may import an SDK or the CDK, so that both sides can read it.
 */

/** The DynamoDB tables: keys are strings, and every list index projects keys only. */
export const TABLES = {
  /** References (`reference#ID`), who has which content (`content#ID`), and the policies of owners (`owner#NAME`). */
  references: { key: { hash: 'pk', range: 'sk' }, indexes: { byTime: { hash: 'list', range: 'rank' } } },
  scans: {
    key: { hash: 'pk' },
    indexes: { byTime: { hash: 'list', range: 'rank' }, byVerdict: { hash: 'verdict', range: 'rank' } },
  },
  cases: {
    key: { hash: 'pk' },
    indexes: { byPriority: { hash: 'list', range: 'rank' }, byState: { hash: 'state', range: 'rank' } },
  },
} as const;

/** Lambda's limit for a synchronous request, and for its response, bytes. */
export const INVOKE_PAYLOAD_BYTES = 6 * 1024 * 1024;

/**
 * The functions: what Lambda grants them. Processor comes with memory: 1,769 MB are one whole core, which is what one run
 * can use, and four times what it needs. The most that was measured, decoder's process and all: scan 433 MB (an hour of
 * upload, `test/real/long-upload.test.ts`; three hours take 20 MB more, `npm run bench:speed`), register 369 MB (an hour of
 * MP3, the network in the same process), embed 414 MB. On that core an hour is scanned in 17 s, so 15 minutes are two days
 * of audio.
 */
export const FUNCTIONS = {
  scan: { timeoutSeconds: 900, memoryMb: 1769, scratchMb: 10_240 },
  register: { timeoutSeconds: 900, memoryMb: 1769, scratchMb: 10_240 },
  /** A window of a minute embeds in well under a second; the rest is for a cold start. */
  embed: { timeoutSeconds: 60, memoryMb: 1769, scratchMb: 512 },
} as const;

/** The model folder that is deployed, and that the command line takes by default. */
export const MODEL = 'refrain-fp-1';

/** One constant, because zip functions, their layer and the image must agree on it. */
export const ARCHITECTURE = 'arm64';

export interface QueueLimits {
  /** How long a received message stays hidden; for a queue of a function at least six times its time-out. */
  visibilitySeconds: number;
  retentionDays: number;
  /** Deliveries before a message goes to the dead letters. */
  maxReceives: number;
}

const VISIBILITY_PER_TIMEOUT = 6;

/** The queues. Live uploads and backfill are apart, so that a backfill never delays an upload. */
export const QUEUES = {
  scanRequests: {
    visibilitySeconds: VISIBILITY_PER_TIMEOUT * FUNCTIONS.scan.timeoutSeconds,
    retentionDays: 14,
    maxReceives: 4,
  },
  scanBackfill: {
    visibilitySeconds: VISIBILITY_PER_TIMEOUT * FUNCTIONS.scan.timeoutSeconds,
    retentionDays: 14,
    maxReceives: 4,
  },
  registerRequests: {
    visibilitySeconds: VISIBILITY_PER_TIMEOUT * FUNCTIONS.register.timeoutSeconds,
    retentionDays: 14,
    maxReceives: 4,
  },
  /** Read by the moderators' system: time to fetch the case and open it. */
  review: { visibilitySeconds: 300, retentionDays: 14, maxReceives: 10 },
} as const satisfies Record<string, QueueLimits>;

/** What the functions count, for dashboards and alarms. */
export const METRICS = {
  namespace: 'Refrain',
  names: {
    clear: 'ScansClear',
    flagged: 'ScansFlagged',
    rejected: 'ScansRejected',
    incompleteScans: 'ScansIncomplete',
    searchedMs: 'SearchedMilliseconds',
  },
  catalogue: { unmerged: 'CatalogueUnmerged' },
} as const;
