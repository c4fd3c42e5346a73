import { z } from 'zod';

/** How much there is to hold and to scan. */
export interface Load {
  catalogueHours: number;
  uploadsPerDay: number;
  minutesEach: number;
}

/** What a segment costs in one way of holding its vector, in an index that is merged. */
const encodingFigures = (measured: { diskBytes: number; memoryBytes: number; searchMs: number }) =>
  z
    .object({
      /** All of it, on disk. */
      diskBytes: z.number().positive().default(measured.diskBytes),
      /** What searches touch: the vector and its links. It has to stay in memory. */
      memoryBytes: z.number().positive().default(measured.memoryBytes),
      /** Processor time of one query in one graph of a million segments, ms. */
      searchMs: z.number().positive().default(measured.searchMs),
    })
    .prefault({});

/**
 * What the plan rests on: the model's figures; speeds measured by `npm run bench:speed`; sizes and speeds of the catalogue
 * measured by `npm run bench:catalogue` (OpenSearch 3.5, engine lucene, 128 dimensions); and on-demand list prices of
 * us-east-1 in USD, written down in November 2026. Check them against your own region and contract.
 */
export const Assumptions = z.object({
  segmentsPerHour: z.number().positive().default(7200),
  encodings: z
    .object({
      byte: encodingFigures({ diskBytes: 343, memoryBytes: 187, searchMs: 0.7 }),
      float32: encodingFigures({ diskBytes: 1110, memoryBytes: 570, searchMs: 0.55 }),
    })
    .prefault({}),
  /** How much longer a query takes in a graph that is ten times as large. */
  searchGrowth: z.number().min(1).default(1.6),
  /** Lucene merges no further than to segments of this size, each with a graph of its own. */
  graphGiB: z.number().positive().default(5),
  /** Graphs of new segments that a shard has beside its full ones, until they are merged. */
  freshGraphs: z.number().min(0).default(8),
  /** Amazon's advice for searches is 10 to 30. */
  shardGiB: z.number().positive().default(20),
  replicas: z.int().min(0).default(1),
  /** Half of a node's memory is heap, up to so much; the rest caches files. */
  largestHeapGiB: z.number().positive().default(32),
  /** Share of that cache that vectors and graphs may fill. */
  memoryForVectors: z.number().min(0.05).max(1).default(0.8),
  /** Share of a node's processors that searches may use in the busiest hour. */
  processorsForSearch: z.number().min(0.05).max(1).default(0.5),
  /** Disk for each byte of index: merges, and what the service keeps free. */
  diskHeadroom: z.number().min(1).default(1.45),
  /** Queries asked for each segment of an upload: other music with an excerpt every minute (`bench/calibrate/coarse.ts`). */
  queriesPerSegment: z.number().positive().max(1).default(0.28),
  /** Times real time, on one Lambda core. */
  scanSpeed: z.number().positive().default(150),
  embedSpeed: z.number().positive().default(500),
  scanMemoryMb: z.number().positive().default(1769),
  embedMemoryMb: z.number().positive().default(1769),
  /** How much busier the busiest hour is than the average one. */
  peak: z.number().min(1).default(3),
  /** Dedicated masters, as the production stage has them. */
  masters: z.int().min(0).default(3),
  prices: z
    .object({
      lambdaGbSecond: z.number().default(0.0000133334),
      lambdaRequest: z.number().default(0.0000002),
      s3PutPerThousand: z.number().default(0.005),
      dynamoWritePerMillion: z.number().default(0.625),
      sqsPerMillion: z.number().default(0.4),
      endpointHour: z.number().default(0.01),
      storageGbMonth: z.number().default(0.122),
      masterHour: z.number().default(0.135),
      nodeHour: z.record(z.string(), z.number()).default({
        'r7g.large.search': 0.187,
        'r7g.xlarge.search': 0.373,
        'r7g.2xlarge.search': 0.746,
        'r7g.4xlarge.search': 1.492,
        'r7g.8xlarge.search': 2.984,
        'r7g.16xlarge.search': 5.968,
      }),
    })
    .prefault({}),
});
export type Assumptions = z.infer<typeof Assumptions>;
export type Encoding = keyof Assumptions['encodings'];

const NODE_GIB: Readonly<Record<string, number>> = {
  'r7g.large.search': 16,
  'r7g.xlarge.search': 32,
  'r7g.2xlarge.search': 64,
  'r7g.4xlarge.search': 128,
  'r7g.8xlarge.search': 256,
  'r7g.16xlarge.search': 512,
};
/** In this family. */
const GIB_PER_PROCESSOR = 8;
/** Fewer nodes are worth so much more money. */
const NEARLY = 1.05;

export interface CatalogueOption {
  encoding: Encoding;
  /** Of vectors and graphs, in all copies. */
  memoryGiB: number;
  /** Of the index, in all copies. */
  diskGiB: number;
  shards: number;
  /** One and its replicas: at least those that were asked for. */
  copies: number;
  /** How many graphs each query has to search, full ones and fresh ones. */
  graphs: number;
  /** Processor time of one query in all of them, ms. */
  queryMs: number;
  nodeType: string;
  nodes: number;
  /** What there must be so many nodes for. */
  limit: 'memory' | 'queries' | 'copies';
  usdPerMonth: number;
}

export interface Plan {
  vectors: number;
  queriesPerSecond: { average: number; peak: number };
  options: CatalogueOption[];
  /** The option that costs least; of equals, the smallest. */
  chosen: CatalogueOption;
  lambda: { scanSeconds: number; embedSeconds: number; usdPerMonth: number };
  other: { what: string; usdPerMonth: number }[];
  usdPerMonth: number;
  usdPerThousandScannedHours: number;
  largestLever: string;
}

const HOURS_PER_MONTH = 730;
const DAYS_PER_MONTH = 30.4;
const GIB = 1024 ** 3;
/** Size of the graph that searches were measured in. */
const MEASURED_SEGMENTS = 1e6;
/** Size of a graph that is not merged yet: Lucene leaves those of less than 16 MiB alone until there are ten. */
const FRESH_SEGMENTS = 1e5;

/** What a load needs on AWS, and what it costs a month. */
export function planCapacity(load: Load, assumptions: Assumptions): Plan {
  const { prices, segmentsPerHour } = assumptions;
  const vectors = Math.ceil(load.catalogueHours * segmentsPerHour);
  const hoursPerMonth = (load.uploadsPerDay * DAYS_PER_MONTH * load.minutesEach) / 60;
  const queriesPerMonth = hoursPerMonth * segmentsPerHour * assumptions.queriesPerSegment;
  const average = queriesPerMonth / (DAYS_PER_MONTH * 86_400);
  const queriesPerSecond = { average, peak: average * assumptions.peak };

  const options = (Object.keys(assumptions.encodings) as Encoding[]).map((encoding) =>
    catalogueOption(encoding, vectors, queriesPerSecond.peak, assumptions),
  );
  const chosen = options.reduce((a, b) => (b.usdPerMonth < a.usdPerMonth ? b : a));

  const scanSeconds = (hoursPerMonth * 3600) / assumptions.scanSpeed;
  const embedSeconds = (hoursPerMonth * 3600) / assumptions.embedSpeed;
  const uploads = load.uploadsPerDay * DAYS_PER_MONTH;
  const windows = hoursPerMonth * 60 + uploads;
  const gigabyteSeconds =
    (scanSeconds * assumptions.scanMemoryMb + embedSeconds * assumptions.embedMemoryMb) / 1024;
  const lambda = {
    scanSeconds,
    embedSeconds,
    usdPerMonth: gigabyteSeconds * prices.lambdaGbSecond + (uploads + windows) * prices.lambdaRequest,
  };
  const other = [
    {
      what: 'dedicated masters',
      usdPerMonth: assumptions.masters * prices.masterHour * HOURS_PER_MONTH,
    },
    {
      what: 'disks of the catalogue',
      usdPerMonth: chosen.diskGiB * assumptions.diskHeadroom * prices.storageGbMonth,
    },
    { what: 'windows of scans in S3', usdPerMonth: (windows / 1000) * prices.s3PutPerThousand },
    { what: 'records in DynamoDB', usdPerMonth: ((uploads * 4) / 1e6) * prices.dynamoWritePerMillion },
    { what: 'messages in SQS', usdPerMonth: ((uploads * 4) / 1e6) * prices.sqsPerMillion },
    { what: 'endpoints of the private network', usdPerMonth: 3 * 2 * HOURS_PER_MONTH * prices.endpointHour },
  ];
  const usdPerMonth =
    chosen.usdPerMonth + lambda.usdPerMonth + other.reduce((sum, part) => sum + part.usdPerMonth, 0);
  return {
    vectors,
    queriesPerSecond,
    options,
    chosen,
    lambda,
    other,
    usdPerMonth,
    usdPerThousandScannedHours: hoursPerMonth > 0 ? (usdPerMonth / hoursPerMonth) * 1000 : 0,
    largestLever: largestLever(chosen, lambda.usdPerMonth, usdPerMonth, options),
  };
}

/**
 * The cheapest nodes (of nearly equals, the fewest) that keep the vectors and their graphs in memory and answer the
 * queries of the busiest hour.
 *
 * A query searches every graph once, in any copy. So its work grows with the catalogue, and what takes more queries is
 * more copies: more shards would only make more graphs.
 */
function catalogueOption(
  encoding: Encoding,
  vectors: number,
  peakQueries: number,
  assumptions: Assumptions,
): CatalogueOption {
  const { prices } = assumptions;
  const { diskBytes, memoryBytes, searchMs } = assumptions.encodings[encoding];
  const copy = { memoryGiB: (memoryBytes * vectors) / GIB, diskGiB: (diskBytes * vectors) / GIB };
  const searchIn = (segments: number) =>
    searchMs * assumptions.searchGrowth ** Math.log10(Math.max(segments, 1000) / MEASURED_SEGMENTS);
  const atLeast = 1 + assumptions.replicas;

  const candidates = Object.entries(prices.nodeHour).flatMap(([nodeType, hourly]) => {
    const gib = NODE_GIB[nodeType];
    if (gib === undefined) return [];
    const cacheGiB = (gib - Math.min(gib / 2, assumptions.largestHeapGiB)) * assumptions.memoryForVectors;
    // A shard lives on one node.
    const shards = Math.ceil(Math.max(1, copy.diskGiB / assumptions.shardGiB, copy.memoryGiB / cacheGiB));
    const full = Math.max(shards, Math.ceil(copy.diskGiB / assumptions.graphGiB));
    const fresh = shards * assumptions.freshGraphs;
    const queryMs = full * searchIn(vectors / full) + fresh * searchIn(FRESH_SEGMENTS);
    const processors = (peakQueries * queryMs) / 1000 / assumptions.processorsForSearch;
    const needs = {
      copies: atLeast,
      memory: Math.ceil((copy.memoryGiB * atLeast) / cacheGiB),
      queries: Math.ceil(processors / (gib / GIB_PER_PROCESSOR)),
    };
    const [limit, needed] = (Object.entries(needs) as [CatalogueOption['limit'], number][]).reduce((a, b) =>
      b[1] >= a[1] ? b : a,
    );
    // Nodes beyond one for each shard of each copy work on further copies.
    const copies = Math.max(atLeast, Math.ceil(needed / shards));
    const nodes = copies > atLeast ? copies * shards : needed;
    const usdPerMonth = nodes * hourly * HOURS_PER_MONTH;
    return [{ shards, copies, graphs: full + fresh, queryMs, nodeType, nodes, limit, usdPerMonth }];
  });
  const least = Math.min(...candidates.map(({ usdPerMonth }) => usdPerMonth));
  const cheapest = candidates
    .filter(({ usdPerMonth }) => usdPerMonth <= least * NEARLY)
    .reduce((a, b) => (b.nodes < a.nodes ? b : a));
  return {
    encoding,
    memoryGiB: copy.memoryGiB * cheapest.copies,
    diskGiB: copy.diskGiB * cheapest.copies,
    ...cheapest,
  };
}

function largestLever(
  chosen: CatalogueOption,
  lambdaUsd: number,
  totalUsd: number,
  options: readonly CatalogueOption[],
): string {
  const share = (usd: number) => `${Math.round((usd / totalUsd) * 100)} %`;
  if (lambdaUsd > chosen.usdPerMonth) {
    return `Lambda is ${share(lambdaUsd)} of the bill: decode and embed speed, and not scanning the same file twice`;
  }
  const nodes = `the catalogue's nodes are ${share(chosen.usdPerMonth)} of the bill`;
  if (chosen.limit === 'queries') return `${nodes}, for its queries: asking for fewer segments of an upload`;
  const float = options.find(({ encoding }) => encoding === 'float32')!;
  const saved = float.usdPerMonth - chosen.usdPerMonth;
  if (chosen.limit === 'memory' && saved > 0) {
    return `${nodes}, for its memory; ${chosen.encoding} instead of float32 saves ${Math.round(saved)} USD a month`;
  }
  return `${nodes}, at their smallest: one replica less halves it`;
}
