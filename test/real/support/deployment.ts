import { join } from 'node:path';
import { PutRuleCommand, PutTargetsCommand } from '@aws-sdk/client-eventbridge';
import { GetQueueAttributesCommand } from '@aws-sdk/client-sqs';
import { inject } from 'vitest';
import { DynamoCaseStore } from '../../../functions/adapters/aws/case-store.ts';
import type { AwsClients } from '../../../functions/adapters/aws/clients.ts';
import { DynamoReferenceStore } from '../../../functions/adapters/aws/reference-store.ts';
import { DynamoScanStore } from '../../../functions/adapters/aws/scan-store.ts';
import type { ScanRecord } from '../../../functions/core/scan.ts';
import { createQueue, unique } from './aws.ts';
import { eventually } from './eventually.ts';
import {
  bootstrap,
  deployStack,
  putCode,
  type Resource,
  renamed,
  type SynthesisedStack,
  synthesise,
} from './stacks.ts';

const ROOT = join(import.meta.dirname, '../../..');
export const MODEL_DIR = join(ROOT, 'models/refrain-fp-1');

/** The real embed function, as the image runs it: Node takes the TypeScript as it is. */
export const EMBED_CODE = `export { handler } from '${ROOT}/functions/embed/lambda.ts';`;

/** A queue and its dead letters, by their URLs. */
export interface QueueWithDeadLetters {
  url: string;
  deadLetters: string;
}

/** Refrain as it stands on a server: by what names its parts can be reached. */
export interface Deployment {
  /** What the names of its stacks begin with. */
  stack: string;
  uploads: string;
  references: string;
  evidence: string;
  scanRequests: QueueWithDeadLetters;
  registerRequests: QueueWithDeadLetters;
  reviewQueue: string;
  /** Receives every event that is published. */
  events: string;
  bus: string;
  functions: { scan: string; register: string; embed: string };
  openSearchUrl: string;
  scansTable: string;
  stores: { references: DynamoReferenceStore; scans: DynamoScanStore; cases: DynamoCaseStore };
}

/** What a test changes in the stacks, because it cannot wait, or wants something to fail. */
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

/** Stands for the name of a stage until there is one: synthesising takes longer than deploying. */
const ANY_STAGE = 'stage-of-a-test';
let stacks: Promise<SynthesisedStack[]> | undefined;

/**
 * Deploys all of Refrain's stacks, under a name of their own, on ministack and OpenSearch: buckets that notify queues,
 * queues that wake bundled functions, tables, the bus, the alarms.
 */
export async function deploy(clients: AwsClients, settings: DeploymentSettings = {}): Promise<Deployment> {
  const { openSearchUrl = inject('openSearchUrl') } = settings;
  await bootstrap(clients);
  stacks ??= synthesise(ANY_STAGE, { like: 'local' });
  const stage = unique('t');
  const outputs: Record<string, string> = {};
  for (const stack of renamed(await stacks, ANY_STAGE, stage)) {
    for (const resource of Object.values(stack.template.Resources)) {
      await adapt(clients, resource, { ...settings, openSearchUrl }, outputs);
    }
    Object.assign(outputs, await deployStack(clients, stack));
  }

  const output = (name: string): string => {
    if (!outputs[name]) throw new Error(`the stacks have no output ${name}`);
    return outputs[name];
  };
  const queue = (name: string) => ({
    url: output(`${name}Url`),
    deadLetters: output(`${name}DeadLettersUrl`),
  });
  const evidence = output('evidenceBucketName');
  return {
    stack: `refrain-${stage}`,
    uploads: output('uploadsBucketName'),
    references: output('referencesBucketName'),
    evidence,
    scanRequests: queue('scanRequests'),
    registerRequests: queue('registerRequests'),
    reviewQueue: output('reviewUrl'),
    events: await queueOfEvents(clients, output('verdictBusName')),
    bus: output('verdictBusName'),
    functions: {
      scan: output('scanFunctionName'),
      register: output('registerFunctionName'),
      embed: output('embedFunctionName'),
    },
    openSearchUrl,
    scansTable: output('scansTableName'),
    stores: {
      references: new DynamoReferenceStore(clients.dynamo, output('referencesTableName')),
      scans: new DynamoScanStore(clients, output('scansTableName'), evidence),
      cases: new DynamoCaseStore(clients.dynamo, output('casesTableName')),
    },
  };
}

async function adapt(
  clients: AwsClients,
  { Type, Properties }: Resource,
  settings: DeploymentSettings & { openSearchUrl: string },
  outputs: Record<string, string>,
): Promise<void> {
  if (Type === 'AWS::SQS::Queue' && Properties.RedrivePolicy) {
    if (settings.maxReceives) Properties.RedrivePolicy.maxReceiveCount = settings.maxReceives;
    if (settings.visibilitySeconds) Properties.VisibilityTimeout = settings.visibilitySeconds;
  }
  if (Type === 'AWS::Lambda::EventSourceMapping' && settings.batchSize) {
    Properties.BatchSize = settings.batchSize;
  }
  if (Type !== 'AWS::Lambda::Function') return;
  if (Properties.PackageType === 'Image') {
    // Nothing runs images here. Its handler runs as a zip function; npm run test:image proves the image.
    delete Properties.PackageType;
    Properties.Code = await putCode(clients, { 'lambda.mjs': settings.embedCode ?? EMBED_CODE });
    Properties.Runtime = 'nodejs24.x';
    Properties.Handler = 'lambda.handler';
    Properties.Environment = { Variables: { REFRAIN_MODEL_DIR: MODEL_DIR } };
    if (settings.embedTimeoutSeconds) Properties.Timeout = settings.embedTimeoutSeconds;
    return;
  }
  if (settings.scanTimeoutSeconds) Properties.Timeout = settings.scanTimeoutSeconds;
  Object.assign(Properties.Environment.Variables, {
    REFRAIN_OPENSEARCH_ENDPOINT: settings.openSearchUrl,
    // What is indexed is found at once, and what failed comes back at once.
    REFRAIN_OPENSEARCH_REFRESH_INTERVAL: '200ms',
    REFRAIN_RETRY_SECONDS: '1',
    REFRAIN_NODE_MODULES: join(ROOT, 'node_modules'),
    ...(settings.awsUrl && {
      AWS_ENDPOINT_URL: settings.awsUrl,
      // The SDK sends to the queue's address, whatever its endpoint is.
      REFRAIN_REVIEW_QUEUE_URL: outputs.reviewUrl!.replace(inject('awsUrl'), settings.awsUrl),
    }),
    ...settings.environment,
  });
}

/** Subscribes to the bus, as a platform would. */
async function queueOfEvents(clients: AwsClients, EventBusName: string): Promise<string> {
  const events = await createQueue(clients);
  const { Attributes } = await clients.sqs.send(
    new GetQueueAttributesCommand({ QueueUrl: events, AttributeNames: ['QueueArn'] }),
  );
  const EventPattern = JSON.stringify({ 'detail-type': [{ prefix: 'refrain.' }] });
  await clients.eventBridge.send(new PutRuleCommand({ Name: 'platform', EventBusName, EventPattern }));
  const Targets = [{ Id: 'queue', Arn: Attributes!.QueueArn!, InputPath: '$.detail' }];
  await clients.eventBridge.send(new PutTargetsCommand({ Rule: 'platform', EventBusName, Targets }));
  return events;
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
