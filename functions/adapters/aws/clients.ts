import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { EventBridgeClient } from '@aws-sdk/client-eventbridge';
import { LambdaClient } from '@aws-sdk/client-lambda';
import { S3Client } from '@aws-sdk/client-s3';
import { SQSClient } from '@aws-sdk/client-sqs';
import { DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import { NodeHttpHandler } from '@smithy/node-http-handler';

export interface AwsClientSettings {
  /** Where it is left out, the SDK looks for one: in the environment, then in the profile. */
  region?: string;
  /** One of the shared configuration files; else the SDK's own chain finds credentials. */
  profile?: string;
  /** Another server than AWS's own, for tests. */
  endpoint?: string;
}

/** What all clients have in common. */
export const commonSettings = ({ region, profile, endpoint }: AwsClientSettings) => ({
  retryMode: 'standard',
  maxAttempts: 5,
  ...(region && { region }),
  ...(profile && { profile }),
  ...(endpoint && { endpoint }),
});

/** The time-out of the socket is the silence that is borne, not the length of a transfer. */
export const within = (requestTimeout: number) =>
  new NodeHttpHandler({ connectionTimeout: 2000, requestTimeout, throwOnRequestTimeout: true });

/**
 * One client per service and process: they keep their connections between invocations.
 *
 * `standard` retries (jittered back-off, a bucket of retry tokens) rather than `adaptive`: the latter slows all calls
 * of a client down to what its busiest resource allows, which is wrong for a client that serves several tables.
 */
export function createAwsClients(settings: AwsClientSettings) {
  const common = commonSettings(settings);
  return {
    s3: new S3Client({
      ...common,
      requestHandler: new NodeHttpHandler({ connectionTimeout: 2000, socketTimeout: 15_000 }),
      // Virtual hosts need a wildcard name in the DNS, which only AWS has.
      forcePathStyle: settings.endpoint !== undefined,
    }),
    sqs: new SQSClient({ ...common, requestHandler: within(10_000) }),
    dynamo: DynamoDBDocumentClient.from(new DynamoDBClient({ ...common, requestHandler: within(5000) })),
    eventBridge: new EventBridgeClient({ ...common, requestHandler: within(5000) }),
    // The embedder retries by itself, because it must also judge what comes back.
    lambda: new LambdaClient({ ...common, maxAttempts: 1, requestHandler: within(120_000) }),
  };
}

export type AwsClients = ReturnType<typeof createAwsClients>;
