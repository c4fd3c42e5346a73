import { randomUUID } from 'node:crypto';
import { CreateTableCommand, type KeySchemaElement } from '@aws-sdk/client-dynamodb';
import { CreateBucketCommand, PutBucketVersioningCommand, PutObjectCommand } from '@aws-sdk/client-s3';
import {
  CreateQueueCommand,
  DeleteMessageCommand,
  GetQueueAttributesCommand,
  ReceiveMessageCommand,
} from '@aws-sdk/client-sqs';
import { inject } from 'vitest';
import { type AwsClients, createAwsClients } from '../../../functions/adapters/aws/clients.ts';
import { TABLES } from '../../../functions/constants.ts';
import type { ObjectVersion } from '../../../functions/core/scan.ts';

// Everything has a name of its own, so that tests share the server and nothing else.

export const unique = (what: string): string => `${what}-${randomUUID().slice(0, 8)}`;

/** Clients for ministack. */
export function awsClients(): AwsClients {
  process.env.AWS_ACCESS_KEY_ID = 'test';
  process.env.AWS_SECRET_ACCESS_KEY = 'test';
  return createAwsClients({ region: 'us-east-1', endpoint: inject('awsUrl') });
}

export async function createBucket({ s3 }: AwsClients, { versioned = true } = {}): Promise<string> {
  const Bucket = unique('bucket');
  await s3.send(new CreateBucketCommand({ Bucket }));
  if (versioned) {
    await s3.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration: { Status: 'Enabled' } }));
  }
  return Bucket;
}

/** A table as the infrastructure makes it. */
export async function createTable({ dynamo }: AwsClients, name: keyof typeof TABLES): Promise<string> {
  const TableName = unique(name);
  const { key, indexes } = TABLES[name];
  const schema = (keys: { hash: string; range?: string }): KeySchemaElement[] => [
    { AttributeName: keys.hash, KeyType: 'HASH' },
    ...(keys.range ? [{ AttributeName: keys.range, KeyType: 'RANGE' as const }] : []),
  ];
  const names = new Set([key, ...Object.values(indexes)].flatMap((keys) => Object.values<string>(keys)));
  await dynamo.send(
    new CreateTableCommand({
      TableName,
      BillingMode: 'PAY_PER_REQUEST',
      AttributeDefinitions: [...names].map((AttributeName) => ({ AttributeName, AttributeType: 'S' })),
      KeySchema: schema(key),
      GlobalSecondaryIndexes: Object.entries(indexes).map(([IndexName, keys]) => ({
        IndexName,
        KeySchema: schema(keys),
        Projection: { ProjectionType: 'KEYS_ONLY' },
      })),
    }),
  );
  return TableName;
}

export async function createQueue(
  { sqs }: AwsClients,
  attributes: Record<string, string> = {},
): Promise<string> {
  const { QueueUrl } = await sqs.send(
    new CreateQueueCommand({ QueueName: unique('queue'), Attributes: attributes }),
  );
  return QueueUrl!;
}

/** Takes what lies in the queue now; gives the bodies. */
export async function receiveAll({ sqs }: Pick<AwsClients, 'sqs'>, QueueUrl: string): Promise<string[]> {
  const bodies: string[] = [];
  for (;;) {
    const { Messages } = await sqs.send(
      new ReceiveMessageCommand({ QueueUrl, MaxNumberOfMessages: 10, WaitTimeSeconds: 0 }),
    );
    if (!Messages?.length) return bodies;
    for (const { Body, ReceiptHandle } of Messages) {
      bodies.push(Body!);
      await sqs.send(new DeleteMessageCommand({ QueueUrl, ReceiptHandle }));
    }
  }
}

/** How many messages the queue holds, visible or not. */
export async function depthOf(clients: AwsClients, QueueUrl: string): Promise<number> {
  const { visible, hidden, delayed } = await countMessages(clients, QueueUrl);
  return visible + hidden + delayed;
}

/** Messages that can be received, that somebody has received, and whose time has not come yet. */
export async function countMessages({ sqs }: AwsClients, QueueUrl: string) {
  const { Attributes = {} } = await sqs.send(
    new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ['All'] }),
  );
  return {
    visible: Number(Attributes.ApproximateNumberOfMessages),
    hidden: Number(Attributes.ApproximateNumberOfMessagesNotVisible),
    delayed: Number(Attributes.ApproximateNumberOfMessagesDelayed),
  };
}

/** Uploads an object; resolves to what names its version. */
export async function putObject(
  { s3 }: AwsClients,
  bucket: string,
  key: string,
  content: Uint8Array | string,
): Promise<ObjectVersion> {
  const { VersionId, ETag } = await s3.send(
    new PutObjectCommand({ Bucket: bucket, Key: key, Body: content }),
  );
  return { bucket, key, ...(VersionId && { versionId: VersionId }), etag: ETag!.replaceAll('"', '') };
}
