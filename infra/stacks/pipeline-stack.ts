import { Aws, CfnOutput, Duration, RemovalPolicy, Size, Stack, type StackProps } from 'aws-cdk-lib';
import type { CfnTable, Table } from 'aws-cdk-lib/aws-dynamodb';
import { SubnetType } from 'aws-cdk-lib/aws-ec2';
import { Platform } from 'aws-cdk-lib/aws-ecr-assets';
import { PolicyDocument, PolicyStatement, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import {
  Architecture,
  Code,
  DockerImageCode,
  DockerImageFunction,
  type FunctionOptions,
  Function as LambdaFunction,
  LayerVersion,
  LoggingFormat,
  Runtime,
  Tracing,
} from 'aws-cdk-lib/aws-lambda';
import { SqsEventSource } from 'aws-cdk-lib/aws-lambda-event-sources';
import { LogGroup, RetentionDays } from 'aws-cdk-lib/aws-logs';
import type { Bucket, CfnBucket } from 'aws-cdk-lib/aws-s3';
import type { Queue } from 'aws-cdk-lib/aws-sqs';
import type { Construct } from 'constructs';
import { ARCHITECTURE, FUNCTIONS, MODEL } from '../../functions/constants.ts';
import { acknowledge, acknowledgeResource } from '../acknowledge.ts';
import type { Bundles } from '../bundle.ts';
import { type Stage, serviceOf } from '../stage.ts';
import type { CatalogueAccess } from './catalogue-stack.ts';
import type { ReviewStack } from './review-stack.ts';
import type { StorageStack } from './storage-stack.ts';

/** The functions and what wakes them. */
export class PipelineStack extends Stack {
  readonly functions: Record<'scan' | 'backfill' | 'register' | 'embed', LambdaFunction>;

  constructor(
    scope: Construct,
    id: string,
    stage: Stage,
    parts: { storage: StorageStack; catalogue: CatalogueAccess; review: ReviewStack; bundles: Bundles },
    props: StackProps,
  ) {
    super(scope, id, props);
    const { storage, catalogue, review, bundles } = parts;

    const embed = this.#embed(stage, catalogue);
    const media = new LayerVersion(this, 'MediaLayer', {
      description: 'FFmpeg for the zip functions',
      code: Code.fromAsset(bundles.mediaLayer),
      compatibleArchitectures: [architecture],
      compatibleRuntimes: [Runtime.NODEJS_24_X],
    });
    const environment = {
      // Every metric of ours carries it, so that two stages in one account stay apart.
      POWERTOOLS_SERVICE_NAME: serviceOf(stage),
      REFRAIN_REFERENCES_TABLE: storage.tables.references.tableName,
      REFRAIN_SCANS_TABLE: storage.tables.scans.tableName,
      REFRAIN_CASES_TABLE: storage.tables.cases.tableName,
      REFRAIN_EVIDENCE_BUCKET: storage.evidence.bucketName,
      REFRAIN_REVIEW_QUEUE_URL: review.reviewQueue.queueUrl,
      REFRAIN_EVENT_BUS: review.bus.eventBusName,
      REFRAIN_EMBED_FUNCTION: embed.functionName,
      REFRAIN_OPENSEARCH_ENDPOINT: catalogue.endpoint,
      REFRAIN_OPENSEARCH_ENGINE: stage.catalogue.engine,
      REFRAIN_OPENSEARCH_ENCODER: stage.catalogue.encoder,
      ...(stage.catalogue.kind !== 'serverless' && {
        REFRAIN_OPENSEARCH_SHARDS: String(stage.catalogue.shards),
        REFRAIN_OPENSEARCH_REPLICAS: String(stage.catalogue.replicas),
      }),
      REFRAIN_OPENSEARCH_AUTH: catalogue.signedFor ? 'sigv4' : 'none',
      REFRAIN_OPENSEARCH_SERVICE: catalogue.signedFor ?? 'es',
    };

    const zip = (name: 'scan' | 'backfill' | 'register', bundle: string, requests: Queue) =>
      this.#function(stage, name, {
        ...FUNCTIONS[name === 'register' ? 'register' : 'scan'],
        code: Code.fromAsset(bundle),
        options: {
          environment: {
            ...environment,
            REFRAIN_SCAN_REQUESTS_URL: requests.queueUrl,
            ...(name !== 'register' && stage.scanStride && { REFRAIN_SCAN_STRIDE: String(stage.scanStride) }),
          },
          layers: [media],
          ...(catalogue.network && {
            vpc: catalogue.network.vpc,
            vpcSubnets: { subnetType: SubnetType.PRIVATE_ISOLATED },
            securityGroups: [catalogue.network.functions],
          }),
        },
      });
    const scan = zip('scan', bundles.scan, storage.scanRequests);
    const backfill = zip('backfill', bundles.scan, storage.scanBackfill);
    const register = zip('register', bundles.register, storage.registerRequests);
    this.functions = { scan, backfill, register, embed };

    for (const [listener, requests] of [
      [scan, storage.scanRequests],
      [backfill, storage.scanBackfill],
    ] as const) {
      // References, too: what is in doubt is compared with the recording itself.
      allowReading(listener, storage.uploads, storage.references, storage.evidence);
      allow(listener, OBJECTS.write, [inside(storage.evidence)]);
      allow(
        listener,
        [...RECORDS.read, ...RECORDS.write],
        tablesOf(storage.tables.scans, storage.tables.cases),
      );
      allow(listener, RECORDS.read, tablesOf(storage.tables.references));
      allow(listener, ['sqs:SendMessage'], [requests.queueArn, review.reviewQueue.queueArn]);
    }
    allowReading(register, storage.references);
    allow(register, [...RECORDS.read, ...RECORDS.write], tablesOf(storage.tables.references));
    // A rebuild of the catalogue asks for what must be heard again.
    allow(register, ['sqs:SendMessage'], [storage.registerRequests.queueArn]);
    for (const caller of [scan, backfill, register]) {
      allow(caller, ['lambda:InvokeFunction'], [embed.functionArn]);
      allow(caller, ['events:PutEvents'], [review.bus.eventBusArn]);
      allow(
        caller,
        ['kms:Decrypt', 'kms:GenerateDataKey'],
        [storage.dataKey.keyArn, storage.messageKey.keyArn],
      );
      catalogue.allowUse(caller.role as Role);
    }
    this.#wake(scan, storage.scanRequests, stage.scanConcurrency);
    this.#wake(backfill, storage.scanBackfill, stage.backfillConcurrency);
    this.#wake(register, storage.registerRequests, stage.registerConcurrency);

    for (const [name, { functionName }] of Object.entries(this.functions)) {
      new CfnOutput(this, `${name}FunctionName`, { value: functionName });
    }
    new CfnOutput(this, 'modelId', { value: MODEL });
  }

  /** One message per run: a long upload must not take its neighbours' time. */
  #wake(listener: LambdaFunction, requests: Queue, maxConcurrency: number): void {
    listener.addEventSource(
      new SqsEventSource(requests, { batchSize: 1, maxConcurrency, reportBatchItemFailures: true }),
    );
  }

  /** The only container: PCM in, vectors out, no permissions but its logs, and no way to any network. */
  #embed(stage: Stage, catalogue: CatalogueAccess): DockerImageFunction {
    return new DockerImageFunction(this, 'embed', {
      ...this.#common(stage, 'embed', FUNCTIONS.embed, catalogue.network !== undefined),
      code: DockerImageCode.fromImageAsset('.', {
        file: 'functions/embed/Dockerfile',
        platform: ARCHITECTURE === 'arm64' ? Platform.LINUX_ARM64 : Platform.LINUX_AMD64,
        // What the Dockerfile copies, and nothing else: a change elsewhere is no new image.
        exclude: [
          '**',
          ...['!functions/core', '!functions/ports', '!functions/embed', '!models/refrain-fp-1'],
        ],
      }),
      reservedConcurrentExecutions: stage.embedConcurrency,
      ...(catalogue.network && {
        vpc: catalogue.network.vpc,
        vpcSubnets: { subnetType: SubnetType.PRIVATE_ISOLATED },
        securityGroups: [catalogue.network.isolated],
      }),
    });
  }

  #function(
    stage: Stage,
    name: string,
    settings: {
      timeoutSeconds: number;
      memoryMb: number;
      scratchMb: number;
      code: Code;
      options: FunctionOptions;
    },
  ): LambdaFunction {
    return new LambdaFunction(this, name, {
      ...this.#common(stage, name, settings, settings.options.vpc !== undefined),
      runtime: Runtime.NODEJS_24_X,
      handler: 'lambda.handler',
      code: settings.code,
      ...settings.options,
    });
  }

  #common(
    stage: Stage,
    name: string,
    limits: { timeoutSeconds: number; memoryMb: number; scratchMb: number },
    inNetwork: boolean,
  ): FunctionOptions {
    const logGroup = new LogGroup(this, `${name}Log`, {
      logGroupName: `/aws/lambda/refrain-${stage.name}-${name}`,
      retention: RetentionDays.THREE_MONTHS,
      removalPolicy: RemovalPolicy.DESTROY,
    });
    return {
      functionName: `refrain-${stage.name}-${name}`,
      architecture,
      timeout: Duration.seconds(limits.timeoutSeconds),
      memorySize: limits.memoryMb,
      ephemeralStorageSize: Size.mebibytes(limits.scratchMb),
      logGroup,
      loggingFormat: LoggingFormat.JSON,
      tracing: Tracing.ACTIVE,
      role: this.#role(name, logGroup, inNetwork),
    };
  }

  /** A role of its own for each function, which starts with its own log and nothing else. */
  #role(name: string, logGroup: LogGroup, inNetwork: boolean): Role {
    const role = new Role(this, `${name}Role`, {
      assumedBy: new ServicePrincipal('lambda.amazonaws.com'),
      inlinePolicies: {
        Log: new PolicyDocument({
          statements: [
            new PolicyStatement({
              actions: ['logs:CreateLogStream', 'logs:PutLogEvents'],
              resources: [logGroup.logGroupArn],
            }),
          ],
        }),
      },
    });
    if (inNetwork) {
      role.addToPolicy(new PolicyStatement({ actions: NETWORK_INTERFACES, resources: ['*'] }));
    }
    acknowledge(role, {
      'AwsSolutions-IAM5[Resource::*]':
        'X-Ray and the network interfaces that Lambda makes take no resource names.',
    });
    return role;
  }
}

/** What the adapters call, and nothing else. */
const OBJECTS = {
  read: ['s3:GetObject', 's3:GetObjectVersion'],
  write: ['s3:PutObject', 's3:DeleteObject'],
};
const RECORDS = {
  read: ['dynamodb:GetItem', 'dynamodb:BatchGetItem', 'dynamodb:Query'],
  write: ['dynamodb:PutItem', 'dynamodb:UpdateItem', 'dynamodb:DeleteItem', 'dynamodb:ConditionCheckItem'],
};
/** What Lambda needs to put a function into a VPC. */
const NETWORK_INTERFACES = [
  'ec2:CreateNetworkInterface',
  'ec2:DescribeNetworkInterfaces',
  'ec2:DescribeSubnets',
  'ec2:DeleteNetworkInterface',
  'ec2:AssignPrivateIpAddresses',
  'ec2:UnassignPrivateIpAddresses',
];

/** Spelled out rather than by the constructs' own grants, which come with wildcard actions. */
function allow(listener: LambdaFunction, actions: string[], resources: string[]): void {
  listener.addToRolePolicy(new PolicyStatement({ actions, resources }));
  for (const resource of resources.filter((arn) => arn.endsWith('/*'))) {
    acknowledgeResource(listener.role!, resource, 'Keys and index names are only known at run time.');
  }
}

/** Listing belongs to reading: whoever may not list is told that a missing object is forbidden, and would try for ever. */
function allowReading(listener: LambdaFunction, ...buckets: Bucket[]): void {
  allow(listener, OBJECTS.read, buckets.map(inside));
  allow(
    listener,
    ['s3:ListBucket'],
    buckets.map(({ bucketArn }) => bucketArn),
  );
}

/** By name and not by reference: cdk-nag and its exceptions are then readable, and the same in every stage. */
const inside = (bucket: Bucket): string => `arn:${Aws.PARTITION}:s3:::${bucketNameOf(bucket)}/*`;

const bucketNameOf = (bucket: Bucket): string => (bucket.node.defaultChild as CfnBucket).bucketName!;

function tablesOf(...tables: Table[]): string[] {
  return tables.flatMap((table) => {
    const name = (table.node.defaultChild as CfnTable).tableName!;
    const arn = table.stack.formatArn({ service: 'dynamodb', resource: 'table', resourceName: name });
    return [arn, `${arn}/index/*`];
  });
}

const architecture = ARCHITECTURE === 'arm64' ? Architecture.ARM_64 : Architecture.X86_64;
