import { join } from 'node:path';
import { z } from 'zod';
import { RefrainError } from './core/errors.ts';
import { DEFAULT_SCAN_SETTINGS } from './scan/dependencies.ts';

/** The function was deployed without something that it needs. */
export class ConfigError extends RefrainError {}

const name = z.string().min(1);
const seconds = z.coerce.number().positive();

const Common = z.object({
  AWS_REGION: name,
  /** Another server than AWS's own, for tests. */
  AWS_ENDPOINT_URL: z.url().optional(),
  /** Holds the model's manifest. */
  REFRAIN_MODEL_DIR: name.default(() => process.env.LAMBDA_TASK_ROOT ?? join(import.meta.dirname, '..')),
  REFRAIN_REFERENCES_TABLE: name,
  REFRAIN_EVENT_BUS: name,
  REFRAIN_EMBED_FUNCTION: name,
  REFRAIN_OPENSEARCH_ENDPOINT: z.url(),
  /** A cluster (a managed domain, or one of your own), or a collection of OpenSearch Serverless. */
  REFRAIN_OPENSEARCH_SERVICE: z.enum(['es', 'aoss']).default('es'),
  REFRAIN_OPENSEARCH_AUTH: z.enum(['sigv4', 'none']).default('sigv4'),
  REFRAIN_OPENSEARCH_ENGINE: z.enum(['faiss', 'lucene']).default('faiss'),
  REFRAIN_OPENSEARCH_ENCODER: z.enum(['none', 'fp16', 'byte']).default('byte'),
  /** How the index is made, where it does not exist yet. */
  REFRAIN_OPENSEARCH_SHARDS: z.coerce.number().int().positive().default(1),
  REFRAIN_OPENSEARCH_REPLICAS: z.coerce.number().int().nonnegative().default(0),
  REFRAIN_OPENSEARCH_REFRESH_INTERVAL: z
    .string()
    .regex(/^\d+(ms|s)$/, 'a time such as 5s')
    .default('5s'),
  /** The function's own queue: where a scan that runs out of time goes back to. */
  REFRAIN_SCAN_REQUESTS_URL: z.url(),
  /** How long a failed message waits before its second try; tripled with each one. */
  REFRAIN_RETRY_SECONDS: seconds.default(60),
  /** How long a throttled or broken call is tried again. */
  REFRAIN_PATIENCE_SECONDS: seconds.default(90),
});

export const RegisterEnvironment = Common;

export const ScanEnvironment = Common.extend({
  REFRAIN_SCANS_TABLE: name,
  REFRAIN_CASES_TABLE: name,
  REFRAIN_EVIDENCE_BUCKET: name,
  REFRAIN_REVIEW_QUEUE_URL: z.url(),
  /** Every so many-th segment of an upload is asked first; 1 asks for all of them. */
  REFRAIN_SCAN_STRIDE: z.coerce.number().int().positive().default(DEFAULT_SCAN_SETTINGS.stride),
});

export type CommonEnvironment = z.infer<typeof Common>;
export type ScanEnvironment = z.infer<typeof ScanEnvironment>;

/**
 * Reads the environment of a function.
 * @throws ConfigError that names every variable that is missing or wrong, not just the first
 */
export function readEnvironment<T>(schema: z.ZodType<T>, environment: NodeJS.ProcessEnv = process.env): T {
  const parsed = schema.safeParse(environment);
  if (parsed.success) return parsed.data;
  const faults = parsed.error.issues.map(({ path, message }) => {
    const variable = path.join('.');
    return environment[variable] === undefined ? `${variable} is not set` : `${variable}: ${message}`;
  });
  throw new ConfigError('CONFIG', `the function's environment is not complete:\n- ${faults.join('\n- ')}`);
}
