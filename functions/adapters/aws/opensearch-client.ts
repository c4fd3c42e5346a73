import { defaultProvider } from '@aws-sdk/credential-provider-node';
import { Client } from '@opensearch-project/opensearch';
import { AwsSigv4Signer } from '@opensearch-project/opensearch/aws-v3';

export interface OpenSearchClientSettings {
  url: string;
  /**
   * - `sigv4`: as IAM wants it, for a managed domain (`service: 'es'`) or Serverless (`'aoss'`).
   * - `none`: an open server, or one whose URL carries user and password.
   */
  auth: { kind: 'sigv4'; region: string; service: 'es' | 'aoss' } | { kind: 'none' };
  /** How long one request may take, ms: well below the time-out of the Lambda that asks. */
  requestTimeoutMs?: number;
}

/** One client per process: it keeps its connections between invocations. */
export function createOpenSearchClient({
  url,
  auth,
  requestTimeoutMs = 30_000,
}: OpenSearchClientSettings): Client {
  return new Client({
    node: url,
    requestTimeout: requestTimeoutMs,
    // The catalogue retries by itself, with a budget and jitter.
    maxRetries: 0,
    // A burst of windows must not open a burst of sockets.
    agent: { keepAlive: true, maxSockets: 16 },
    ...(auth.kind === 'sigv4' &&
      AwsSigv4Signer({ region: auth.region, service: auth.service, getCredentials: defaultProvider() })),
  });
}
