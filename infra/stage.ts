import { RemovalPolicy } from 'aws-cdk-lib';
import { z } from 'zod';

/** How the index is made. A change takes hold with `refrain aws reindex`. */
const IndexSettings = z.object({
  engine: z.enum(['faiss', 'lucene']),
  encoder: z.enum(['none', 'fp16', 'byte']),
  /** `refrain plan` says how many a load needs. */
  shards: z.int().min(1).default(1),
  /** Further copies of each shard, which answer queries, too. */
  replicas: z.int().min(0).default(0),
});

/** Where the catalogue is searched. */
const CatalogueSettings = z.discriminatedUnion('kind', [
  /** A managed OpenSearch domain in private subnets: the default, since it takes upserts by id. */
  IndexSettings.extend({
    kind: z.literal('domain'),
    dataNodes: z.int().min(1),
    dataNodeType: z.string().endsWith('.search'),
    dedicatedMasters: z.union([z.literal(0), z.literal(3)]),
    volumeGiB: z.int().min(10),
  }).refine(({ shards, replicas, dataNodes }) => shards * (1 + replicas) >= dataNodes, {
    message: 'a node without a shard does nothing: shards x (1 + replicas) must be at least dataNodes',
    path: ['dataNodes'],
  }),
  /** A vector collection of OpenSearch Serverless in private subnets: no nodes to choose, and no `refrain aws reindex`. */
  IndexSettings.omit({ shards: true, replicas: true }).extend({
    kind: z.literal('serverless'),
    /** The only engine that it has. */
    engine: z.literal('faiss').default('faiss'),
    /** A second copy in another zone, at twice the cost. */
    standby: z.boolean(),
  }),
  /** A cluster that somebody else runs, reached by its address. */
  IndexSettings.extend({ kind: z.literal('external'), endpoint: z.url() }),
]);

/** What differs between stages; everything else is the same everywhere. Read from `stages` in `cdk.json`. */
export const StageSettings = z.object({
  /** What becomes of buckets, tables and keys when the stack is deleted. */
  removal: z.enum(['retain', 'destroy']),
  /**
   * How many runs of a function may go on at once. These budgets are what keeps a flood of uploads from drowning the
   * search cluster: what is over them waits in the queue.
   */
  scanConcurrency: z.int().min(2).max(1000),
  backfillConcurrency: z.int().min(2).max(1000),
  registerConcurrency: z.int().min(2).max(1000),
  embedConcurrency: z.int().min(1),
  /** Asks for another share of an upload's segments than the functions do by themselves (docs/SCALE.md); 1 for all of them. */
  scanStride: z.int().min(1).optional(),
  /** When few upload, so that the catalogue's processors have time to merge its graphs. */
  nightHourUtc: z.int().min(0).max(23).default(3),
  /** Told of every alarm. */
  alarmEmail: z.union([z.email(), z.literal('')]).default(''),
  catalogue: CatalogueSettings,
});
export type StageSettings = z.infer<typeof StageSettings>;

export interface Stage extends StageSettings {
  name: string;
  /** `removal`, as the CDK calls it. */
  removalPolicy: RemovalPolicy;
}

/** How logs, metrics and stacks of a stage are named; `--stack` of the command line takes it. */
export const serviceOf = ({ name }: Pick<Stage, 'name'>): string => `refrain-${name}`;

/** @throws Error that names every fault of the stage's settings */
export function readStage(name: string, stages: unknown): Stage {
  const known = z.record(z.string(), z.unknown()).parse(stages ?? {});
  if (!(name in known)) {
    throw new Error(`cdk.json knows no stage "${name}", only ${Object.keys(known).join(', ')}`);
  }
  const settings = StageSettings.safeParse(known[name]);
  if (!settings.success) {
    throw new Error(`stage "${name}" in cdk.json:\n${z.prettifyError(settings.error)}`);
  }
  const { removal } = settings.data;
  const removalPolicy = removal === 'retain' ? RemovalPolicy.RETAIN : RemovalPolicy.DESTROY;
  return { name, ...settings.data, removalPolicy };
}
