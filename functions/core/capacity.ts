import { z } from 'zod';

/** How much there is to hold and to scan. */
export interface Load {
  catalogueHours: number;
  uploadsPerDay: number;
  minutesEach: number;
}

/**
 * What the plan rests on: the model's figures, speeds measured by `npm run bench:speed`, and on-demand list prices of
 * us-east-1 in USD, written down in November 2026. Check them against your own region and contract.
 */
export const Assumptions = z.object({
  segmentsPerHour: z.number().positive().default(7200),
  dimension: z.int().positive().default(128),
  /** Links per vector in the HNSW graph (m). */
  graphLinks: z.int().positive().default(16),
  replicas: z.int().min(0).default(1),
  /** Share of a node's memory that is left for vectors: half is heap, and half of the rest is OpenSearch's limit. */
  memoryForVectors: z.number().min(0.05).max(0.9).default(0.25),
  /** Times real time, on one Lambda core. */
  scanSpeed: z.number().positive().default(150),
  embedSpeed: z.number().positive().default(500),
  /** Queries per second of one data node with two cores, at `_msearch` of 100. */
  queriesPerSecondPerNode: z.number().positive().default(1000),
  scanMemoryMb: z.number().positive().default(1769),
  embedMemoryMb: z.number().positive().default(1769),
  /** How much busier the busiest hour is than the average one. */
  peak: z.number().min(1).default(3),
  prices: z
    .object({
      lambdaGbSecond: z.number().default(0.0000133334),
      lambdaRequest: z.number().default(0.0000002),
      s3PutPerThousand: z.number().default(0.005),
      dynamoWritePerMillion: z.number().default(0.625),
      sqsPerMillion: z.number().default(0.4),
      endpointHour: z.number().default(0.01),
      storageGbMonth: z.number().default(0.122),
      nodeHour: z.record(z.string(), z.number()).default({
        'r7g.large.search': 0.187,
        'r7g.xlarge.search': 0.373,
        'r7g.2xlarge.search': 0.746,
        'r7g.4xlarge.search': 1.492,
      }),
    })
    .prefault({}),
});
export type Assumptions = z.infer<typeof Assumptions>;

const NODE_GIB: Readonly<Record<string, number>> = {
  'r7g.large.search': 16,
  'r7g.xlarge.search': 32,
  'r7g.2xlarge.search': 64,
  'r7g.4xlarge.search': 128,
};

const BYTES_PER_VALUE = { float32: 4, fp16: 2, byte: 1 } as const;
export type Encoding = keyof typeof BYTES_PER_VALUE;

export interface CatalogueOption {
  encoding: Encoding;
  /** Memory for vectors and graph, replicas included. */
  memoryGiB: number;
  nodeType: string;
  nodes: number;
  usdPerMonth: number;
}

export interface Plan {
  vectors: number;
  queriesPerSecond: { average: number; peak: number };
  options: CatalogueOption[];
  /** The option that costs least among those that need no leap of faith: fp16 and byte keep recall at this dimension. */
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

/** What a load needs on AWS, and what it costs a month. */
export function planCapacity(load: Load, assumptions: Assumptions): Plan {
  const { prices, segmentsPerHour } = assumptions;
  const vectors = Math.ceil(load.catalogueHours * segmentsPerHour);
  const hoursPerMonth = (load.uploadsPerDay * DAYS_PER_MONTH * load.minutesEach) / 60;
  const average = (hoursPerMonth * segmentsPerHour) / (DAYS_PER_MONTH * 86_400);
  const queriesPerSecond = { average, peak: average * assumptions.peak };

  const options = (Object.keys(BYTES_PER_VALUE) as Encoding[]).map((encoding) =>
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
    { what: 'windows of scans in S3', usdPerMonth: (windows / 1000) * prices.s3PutPerThousand },
    { what: 'records in DynamoDB', usdPerMonth: ((uploads * 4) / 1e6) * prices.dynamoWritePerMillion },
    { what: 'messages in SQS', usdPerMonth: ((uploads * 4) / 1e6) * prices.sqsPerMillion },
    { what: 'endpoints of the private network', usdPerMonth: 3 * 2 * HOURS_PER_MONTH * prices.endpointHour },
    {
      what: 'disks of the catalogue',
      usdPerMonth:
        ((vectors * assumptions.dimension * 4 * 2 * (1 + assumptions.replicas)) / GIB) *
        prices.storageGbMonth,
    },
  ];
  const usdPerMonth =
    chosen.usdPerMonth + lambda.usdPerMonth + other.reduce((sum, { usdPerMonth }) => sum + usdPerMonth, 0);
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
 * The cheapest nodes that hold the vectors in memory and answer the queries of the busiest hour. Memory by OpenSearch's
 * own rule for HNSW: 1.1 * (bytes per vector + 8 * links) for each copy.
 */
function catalogueOption(
  encoding: Encoding,
  vectors: number,
  peakQueries: number,
  assumptions: Assumptions,
): CatalogueOption {
  const { dimension, graphLinks, replicas, memoryForVectors, prices } = assumptions;
  const bytes = 1.1 * (BYTES_PER_VALUE[encoding] * dimension + 8 * graphLinks) * vectors * (1 + replicas);
  const memoryGiB = bytes / GIB;
  const sizes = Object.entries(prices.nodeHour).filter(([type]) => type in NODE_GIB);
  const candidates = sizes.map(([nodeType, hourly]) => {
    const gib = NODE_GIB[nodeType]!;
    const forMemory = Math.ceil(memoryGiB / (gib * memoryForVectors));
    // Cores grow with memory in this family: two for each 16 GiB.
    const forQueries = Math.ceil(peakQueries / (assumptions.queriesPerSecondPerNode * (gib / 16)));
    const nodes = Math.max(forMemory, forQueries, 1 + replicas);
    return { encoding, memoryGiB, nodeType, nodes, usdPerMonth: nodes * hourly * HOURS_PER_MONTH };
  });
  return candidates.reduce((a, b) => (b.usdPerMonth < a.usdPerMonth ? b : a));
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
  const float = options.find(({ encoding }) => encoding === 'float32')!;
  const saved = float.usdPerMonth - chosen.usdPerMonth;
  return saved > 0
    ? `the catalogue's nodes are ${share(chosen.usdPerMonth)} of the bill; ${chosen.encoding} instead of float32 saves ` +
        `${Math.round(saved)} USD a month`
    : `the catalogue's nodes are ${share(chosen.usdPerMonth)} of the bill, at their smallest: one replica less halves it`;
}
