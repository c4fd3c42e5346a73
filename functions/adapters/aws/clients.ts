import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { EventBridgeClient } from '@aws-sdk/client-eventbridge';
import { LambdaClient } from '@aws-sdk/client-lambda';
import { S3Client } from '@aws-sdk/client-s3';
import { SQSClient } from '@aws-sdk/client-sqs';
import { DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import { NodeHttpHandler } from '@smithy/node-http-handler';

export interface AwsClientSettings {
  region: string;
  /** Another server than AWS's own, for tests. */
  endpoint?: string;
}

/**
 * One client per service and process: they keep their connections between invocations.
 *
 * `standard` retries (jittered back-off, a bucket of retry tokens) rather than `adaptive`: the latter slows all calls
 * of a client down to what its busiest resource allows, which is wrong for a client that serves several tables.
 */
export function createAwsClients({ region, endpoint }: AwsClientSettings) {
  const common = { region, retryMode: 'standard', maxAttempts: 5, ...(endpoint && { endpoint }) };
  // The time-out of the socket is the silence that is borne, not the length of a transfer.
  const within = (requestTimeout: number) =>
    new NodeHttpHandler({ connectionTimeout: 2000, requestTimeout, throwOnRequestTimeout: true });

  return {
    s3: new S3Client({
      ...common,
      requestHandler: new NodeHttpHandler({ connectionTimeout: 2000, socketTimeout: 15_000 }),
      // Virtual hosts need a wildcard name in the DNS, which only AWS has.
      forcePathStyle: endpoint !== undefined,
    }),
    sqs: new SQSClient({ ...common, requestHandler: within(10_000) }),
    dynamo: DynamoDBDocumentClient.from(new DynamoDBClient({ ...common, requestHandler: within(5000) })),
    eventBridge: new EventBridgeClient({ ...common, requestHandler: within(5000) }),
    // The embedder retries by itself, because it must also judge what comes back.
    lambda: new LambdaClient({ ...common, maxAttempts: 1, requestHandler: within(120_000) }),
  };
}

export type AwsClients = ReturnType<typeof createAwsClients>;
