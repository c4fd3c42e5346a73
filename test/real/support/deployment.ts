import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CreateEventBusCommand, PutRuleCommand, PutTargetsCommand } from '@aws-sdk/client-eventbridge';
import { CreateEventSourceMappingCommand } from '@aws-sdk/client-lambda';
import { PutBucketNotificationConfigurationCommand } from '@aws-sdk/client-s3';
import { GetQueueAttributesCommand } from '@aws-sdk/client-sqs';
import { inject } from 'vitest';
import { DynamoCaseStore } from '../../../functions/adapters/aws/case-store.ts';
import type { AwsClients } from '../../../functions/adapters/aws/clients.ts';
import { DynamoReferenceStore } from '../../../functions/adapters/aws/reference-store.ts';
import { DynamoScanStore } from '../../../functions/adapters/aws/scan-store.ts';
import type { TABLES } from '../../../functions/constants.ts';
import type { ScanRecord } from '../../../functions/core/scan.ts';
import { bundleFunction } from '../../../infra/bundle.ts';
import { createBucket, createQueue, createTable, unique } from './aws.ts';
import { eventually } from './eventually.ts';
import { createFunction } from './functions.ts';

const ROOT = join(import.meta.dirname, '../../..');
const NODE_MODULES = join(ROOT, 'node_modules');
export const MODEL_DIR = join(ROOT, 'models/refrain-fp-1');

/** The real embed function, as the image runs it: Node takes the TypeScript as it is. */
export const EMBED_CODE = `export { handler } from '${ROOT}/functions/embed/lambda.ts';`;

/** A queue and its dead letters. */
export interface QueueWithDeadLetters {
  url: string;
  arn: string;
  deadLetters: string;
}

/** Refrain as it stands on a server: by what names its parts can be reached. */
export interface Deployment {
  uploads: string;
  references: string;
  evidence: string;
  scanRequests: QueueWithDeadLetters;
  registerRequests: QueueWithDeadLetters;
  reviewQueue: string;
  /** Receives every event that is published. */
  events: string;
  bus: string;
  tables: Record<keyof typeof TABLES, string>;
  functions: { scan: string; register: string; embed: string };
  openSearchUrl: string;
  stores: { references: DynamoReferenceStore; scans: DynamoScanStore; cases: DynamoCaseStore };
}

export interface DeploymentSettings {
  /** Where the functions find OpenSearch. */
  openSearchUrl?: string;
  /** Where the test's own process finds it. */
  directOpenSearchUrl?: string;
  embedTimeoutSeconds?: number;
  /** Where the functions find AWS; the deployment itself is made on the real server. */
  awsUrl?: string;
  /** More environment for scan and register. */
  environment?: Record<string, string>;
  scanTimeoutSeconds?: number;
  maxReceives?: number;
  visibilitySeconds?: number;
  /** Another embed function than the real one: the code of its `lambda.mjs`. */
  embedCode?: string;
  /** Scan messages that one invocation handles. */
  batchSize?: number;
}

let bundles: Promise<{ scan: Record<string, Uint8Array>; register: Record<string, Uint8Array> }> | undefined;

/** Bundled once for all tests of a file, as `cdk deploy` would; only FFmpeg stays where npm put it. */
function bundled() {
  bundles ??= (async () => {
    const folder = mkdtempSync(join(tmpdir(), 'refrain-bundles-'));
    try {
      const [scan, register] = await Promise.all(
        ['scan', 'register'].map(async (name) =>
          filesOf(await bundleFunction(name, join(folder, name), NODE_MODULES)),
        ),
      );
      return { scan: scan!, register: register! };
    } finally {
      rmSync(folder, { recursive: true });
    }
  })();
  return bundles;
}

/**
 * Sets up all of Refrain on ministack and OpenSearch: buckets that notify queues, queues that wake bundled functions,
 * tables, the bus.
 */
export async function deploy(clients: AwsClients, settings: DeploymentSettings = {}): Promise<Deployment> {
  const { maxReceives = 3, visibilitySeconds = 150, scanTimeoutSeconds = 120 } = settings;
  const code = await bundled();
  const [uploads, references, evidence] = await Promise.all([
    createBucket(clients),
    createBucket(clients),
    createBucket(clients),
  ]);
  const queue = () => queueWithDeadLetters(clients, { maxReceives, visibilitySeconds });
  const [scanRequests, registerRequests] = [await queue(), await queue()];
  const reviewQueue = await createQueue(clients);
  const tables = {
    references: await createTable(clients, 'references'),
    scans: await createTable(clients, 'scans'),
    cases: await createTable(clients, 'cases'),
  };
  const { bus, events } = await busWithQueue(clients);

  const embed = await createFunction(
    clients,
    { 'lambda.mjs': settings.embedCode ?? EMBED_CODE },
    { environment: { REFRAIN_MODEL_DIR: MODEL_DIR }, timeoutSeconds: settings.embedTimeoutSeconds ?? 30 },
  );
  const environment = {
    AWS_ENDPOINT_URL: settings.awsUrl ?? inject('awsUrl'),
    REFRAIN_REFERENCES_TABLE: tables.references,
    REFRAIN_SCANS_TABLE: tables.scans,
    REFRAIN_CASES_TABLE: tables.cases,
    REFRAIN_EVIDENCE_BUCKET: evidence,
    // The SDK sends to the queue's address, whatever its endpoint is.
    REFRAIN_REVIEW_QUEUE_URL: reviewQueue.replace(inject('awsUrl'), settings.awsUrl ?? inject('awsUrl')),
    REFRAIN_EVENT_BUS: bus,
    REFRAIN_EMBED_FUNCTION: embed,
    REFRAIN_OPENSEARCH_ENDPOINT: settings.openSearchUrl ?? inject('openSearchUrl'),
    REFRAIN_OPENSEARCH_AUTH: 'none',
    REFRAIN_OPENSEARCH_ENGINE: 'lucene',
    REFRAIN_OPENSEARCH_ENCODER: 'none',
    REFRAIN_OPENSEARCH_REFRESH_INTERVAL: '200ms',
    REFRAIN_RETRY_SECONDS: '1',
    REFRAIN_NODE_MODULES: NODE_MODULES,
    ...settings.environment,
  };
  const scan = await createFunction(clients, code.scan, {
    environment: { ...environment, REFRAIN_SCAN_REQUESTS_URL: scanRequests.url },
    timeoutSeconds: scanTimeoutSeconds,
  });
  const register = await createFunction(clients, code.register, {
    environment: { ...environment, REFRAIN_SCAN_REQUESTS_URL: registerRequests.url },
    timeoutSeconds: 60,
  });

  for (const [FunctionName, EventSourceArn] of [
    [scan, scanRequests.arn],
    [register, registerRequests.arn],
  ]) {
    await clients.lambda.send(
      new CreateEventSourceMappingCommand({
        FunctionName,
        EventSourceArn,
        BatchSize: settings.batchSize ?? 1,
        FunctionResponseTypes: ['ReportBatchItemFailures'],
      }),
    );
  }
  await notify(clients, uploads, scanRequests.arn);
  await notify(clients, references, registerRequests.arn);

  return {
    uploads,
    references,
    evidence,
    scanRequests,
    registerRequests,
    reviewQueue,
    events,
    bus,
    tables,
    functions: { scan, register, embed },
    openSearchUrl: settings.openSearchUrl ?? inject('openSearchUrl'),
    stores: {
      references: new DynamoReferenceStore(clients.dynamo, tables.references),
      scans: new DynamoScanStore(clients, tables.scans, evidence),
      cases: new DynamoCaseStore(clients.dynamo, tables.cases),
    },
  };
}

/** The scan of the upload, once everybody has been told of it. */
export function finishedScan({ stores }: Deployment, key: string, timeoutMs?: number): Promise<ScanRecord> {
  return eventually(
    `the end of the scan of ${key}`,
    async () => {
      const { items } = await stores.scans.list();
      return items.find(({ upload, announced }) => upload.key === key && announced);
    },
    timeoutMs,
  );
}

async function arnOf({ sqs }: AwsClients, QueueUrl: string): Promise<string> {
  const { Attributes } = await sqs.send(
    new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ['QueueArn'] }),
  );
  return Attributes!.QueueArn!;
}

async function queueWithDeadLetters(
  clients: AwsClients,
  { maxReceives, visibilitySeconds }: { maxReceives: number; visibilitySeconds: number },
): Promise<QueueWithDeadLetters> {
  const deadLetters = await createQueue(clients);
  const url = await createQueue(clients, {
    VisibilityTimeout: String(visibilitySeconds),
    RedrivePolicy: JSON.stringify({
      deadLetterTargetArn: await arnOf(clients, deadLetters),
      maxReceiveCount: maxReceives,
    }),
  });
  return { url, arn: await arnOf(clients, url), deadLetters };
}

async function busWithQueue(clients: AwsClients): Promise<{ bus: string; events: string }> {
  const EventBusName = unique('bus');
  const events = await createQueue(clients);
  await clients.eventBridge.send(new CreateEventBusCommand({ Name: EventBusName }));
  const EventPattern = JSON.stringify({ 'detail-type': [{ prefix: 'refrain.' }] });
  await clients.eventBridge.send(new PutRuleCommand({ Name: 'all', EventBusName, EventPattern }));
  const Targets = [{ Id: 'queue', Arn: await arnOf(clients, events), InputPath: '$.detail' }];
  await clients.eventBridge.send(new PutTargetsCommand({ Rule: 'all', EventBusName, Targets }));
  return { bus: EventBusName, events };
}

async function notify({ s3 }: AwsClients, Bucket: string, QueueArn: string): Promise<void> {
  await s3.send(
    new PutBucketNotificationConfigurationCommand({
      Bucket,
      NotificationConfiguration: { QueueConfigurations: [{ QueueArn, Events: ['s3:ObjectCreated:*'] }] },
    }),
  );
}

function filesOf(folder: string): Record<string, Uint8Array> {
  return Object.fromEntries(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name))]));
}
