import {
  CloudFormationClient,
  DescribeStacksCommand,
  paginateDescribeStacks,
} from '@aws-sdk/client-cloudformation';
import { CloudWatchClient } from '@aws-sdk/client-cloudwatch';
import { GetFunctionConfigurationCommand, LambdaClient } from '@aws-sdk/client-lambda';
import { z } from 'zod';
import { FUNCTIONS } from '../../constants.ts';
import { RefrainError } from '../../core/errors.ts';
import { DynamoCaseStore } from './case-store.ts';
import { CatalogueDoor } from './catalogue-door.ts';
import { type AwsClientSettings, commonSettings, createAwsClients, within } from './clients.ts';
import { EventBridgeBus } from './event-bus.ts';
import { type MeasuredTime, type Measurement, measure } from './measurements.ts';
import { SqsQueueSender } from './queue-sender.ts';
import { SqsQueueUpkeep } from './queue-upkeep.ts';
import { DynamoReferenceStore } from './reference-store.ts';
import { DynamoScanStore } from './scan-store.ts';
import { S3Uploads } from './upload.ts';

/** The stacks of a deployment that have outputs, and whether there may be a deployment without them. */
const STACKS = [
  { part: 'storage', optional: false },
  { part: 'review', optional: false },
  { part: 'pipeline', optional: false },
  // An external catalogue has none.
  { part: 'catalogue', optional: true },
] as const;

const name = z.string().min(1);
const Outputs = z.object({
  uploadsBucketName: name,
  referencesBucketName: name,
  evidenceBucketName: name,
  scanRequestsUrl: name,
  scanRequestsDeadLettersUrl: name,
  scanBackfillUrl: name,
  scanBackfillDeadLettersUrl: name,
  registerRequestsUrl: name,
  registerRequestsDeadLettersUrl: name,
  reviewUrl: name,
  reviewDeadLettersUrl: name,
  referencesTableName: name,
  scansTableName: name,
  casesTableName: name,
  verdictBusName: name,
  scanFunctionName: name,
  backfillFunctionName: name,
  registerFunctionName: name,
  embedFunctionName: name,
  modelId: name,
  catalogueDataNodeType: name.optional(),
  catalogueDataNodes: z.coerce.number().optional(),
  catalogueVolumeGiB: z.coerce.number().optional(),
  catalogueDedicatedMasters: z.coerce.number().optional(),
});

export interface StackAddress extends AwsClientSettings {
  /** What the names of the stacks begin with: `refrain-STAGE`. */
  stack: string;
}

export type Deployment = Awaited<ReturnType<typeof openDeployment>>;

/**
 * A deployment of Refrain as its operator finds it: by the outputs of its stacks.
 * @throws RefrainError REGION_UNKNOWN, STACK_NOT_FOUND, or STACK_OUTDATED when it lacks outputs
 */
export async function openDeployment({ stack, ...settings }: StackAddress) {
  const clients = createAwsClients(settings);
  const common = commonSettings(settings);
  const region = await clients.sqs.config.region().catch((cause) => {
    throw new RefrainError(
      'REGION_UNKNOWN',
      'in which region? Say it by --region, AWS_REGION, or the "region" of your profile',
      { cause },
    );
  });
  const outputs = await outputsOf(new CloudFormationClient({ ...common, requestHandler: within(20_000) }), {
    stack,
    region,
  });

  const cloudWatch = new CloudWatchClient({ ...common, requestHandler: within(20_000) });
  const queue = (of: 'scanRequests' | 'scanBackfill' | 'registerRequests' | 'review') =>
    new SqsQueueUpkeep(clients.sqs, {
      url: outputs[`${of}Url`],
      deadLettersUrl: outputs[`${of}DeadLettersUrl`],
    });
  return {
    stack,
    region,
    outputs,
    clients,
    references: new DynamoReferenceStore(clients.dynamo, outputs.referencesTableName),
    scans: new DynamoScanStore(clients, outputs.scansTableName, outputs.evidenceBucketName),
    cases: new DynamoCaseStore(clients.dynamo, outputs.casesTableName),
    events: new EventBridgeBus(clients.eventBridge, outputs.verdictBusName),
    uploads: new S3Uploads(clients.s3, outputs.uploadsBucketName),
    recordings: new S3Uploads(clients.s3, outputs.referencesBucketName),
    scanRequests: new SqsQueueSender(clients.sqs, outputs.scanRequestsUrl),
    registerRequests: new SqsQueueSender(clients.sqs, outputs.registerRequestsUrl),
    queues: {
      scanRequests: queue('scanRequests'),
      scanBackfill: queue('scanBackfill'),
      registerRequests: queue('registerRequests'),
      review: queue('review'),
    },
    functions: {
      scan: outputs.scanFunctionName,
      backfill: outputs.backfillFunctionName,
      register: outputs.registerFunctionName,
      embed: outputs.embedFunctionName,
    },
    catalogue: new CatalogueDoor(
      new LambdaClient({
        ...common,
        maxAttempts: 1,
        requestHandler: within(FUNCTIONS.register.timeoutSeconds * 1000),
      }),
      outputs.registerFunctionName,
    ),
    memoryMbOf: async (FunctionName: string): Promise<number> => {
      const { MemorySize } = await clients.lambda.send(new GetFunctionConfigurationCommand({ FunctionName }));
      return MemorySize!;
    },
    measure: (figures: readonly Measurement[], time: MeasuredTime) => measure(cloudWatch, figures, time),
  };
}

async function outputsOf(
  client: CloudFormationClient,
  { stack, region }: { stack: string; region: string },
): Promise<z.infer<typeof Outputs>> {
  const found: Record<string, string> = {};
  for (const { part, optional } of STACKS) {
    const StackName = `${stack}-${part}`;
    try {
      const { Stacks = [] } = await client.send(new DescribeStacksCommand({ StackName }));
      for (const { OutputKey, OutputValue } of Stacks[0]?.Outputs ?? []) found[OutputKey!] = OutputValue!;
    } catch (error) {
      if (!/does not exist/.test((error as Error).message)) throw error;
      if (!optional) throw await notFound(client, StackName, region, error);
    }
  }
  const outputs = Outputs.safeParse(found);
  if (outputs.success) return outputs.data;
  const missing = outputs.error.issues.map(({ path }) => path.join('.')).join(', ');
  throw new RefrainError(
    'STACK_OUTDATED',
    `the stacks of ${stack} lack outputs (${missing}): deploy them from this version of Refrain`,
  );
}

async function notFound(
  client: CloudFormationClient,
  stackName: string,
  region: string,
  cause: unknown,
): Promise<RefrainError> {
  const there: string[] = [];
  try {
    for await (const { Stacks = [] } of paginateDescribeStacks({ client }, {})) {
      there.push(...Stacks.map(({ StackName }) => StackName!));
    }
  } catch {
    // Who may ask for one stack may not list all of them.
  }
  const deployments = there
    .filter((of) => of.endsWith('-storage'))
    .map((of) => of.slice(0, -'-storage'.length));
  const hint = deployments.length > 0 ? `; there is ${deployments.join(', ')}` : '';
  return new RefrainError(
    'STACK_NOT_FOUND',
    `there is no stack ${stackName} in ${region}${hint}. --stack takes what the names of the stacks begin with, such as refrain-prod`,
    { cause },
  );
}
