import { CfnOutput, Duration, Stack, type StackProps, Tags } from 'aws-cdk-lib';
import { AttributeType, BillingMode, ProjectionType, Table, TableEncryption } from 'aws-cdk-lib/aws-dynamodb';
import { Rule, RuleTargetInput, Schedule } from 'aws-cdk-lib/aws-events';
import { PolicyStatement, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { Key } from 'aws-cdk-lib/aws-kms';
import {
  BlockPublicAccess,
  Bucket,
  BucketEncryption,
  type CfnBucket,
  type LifecycleRule,
  ObjectOwnership,
} from 'aws-cdk-lib/aws-s3';
import type { Queue } from 'aws-cdk-lib/aws-sqs';
import type { Construct } from 'constructs';
import { QUEUES, TABLES } from '../../functions/constants.ts';
import { acknowledge } from '../acknowledge.ts';
import { queueWithDeadLetters } from '../queues.ts';
import type { Stage } from '../stage.ts';

/**
 * Everything that keeps something: buckets with the queues that their notifications go to, tables, and the two keys.
 *
 * Two keys, not one: a bucket that is encrypted with the key of the queue that it notifies would make each depend on
 * the other.
 */
export class StorageStack extends Stack {
  readonly dataKey: Key;
  readonly messageKey: Key;
  readonly uploads: Bucket;
  readonly references: Bucket;
  readonly evidence: Bucket;
  readonly tables: Record<keyof typeof TABLES, Table>;
  readonly scanRequests: Queue;
  readonly scanBackfill: Queue;
  readonly registerRequests: Queue;
  readonly #stage: Stage;

  constructor(scope: Construct, id: string, stage: Stage, props: StackProps) {
    super(scope, id, props);
    this.#stage = stage;

    this.dataKey = this.#key('DataKey', 'Uploads, references, evidence and records');
    this.messageKey = this.#key('MessageKey', 'Messages on their way');
    // S3's notifications and the schedule's requests go into queues that are encrypted with this key.
    this.messageKey.addToResourcePolicy(
      new PolicyStatement({
        principals: ['s3.amazonaws.com', 'events.amazonaws.com'].map((name) => new ServicePrincipal(name)),
        actions: ['kms:GenerateDataKey', 'kms:Decrypt'],
        resources: ['*'],
        conditions: { StringEquals: { 'aws:SourceAccount': this.account } },
      }),
    );
    const queue = (name: keyof typeof QUEUES) =>
      queueWithDeadLetters(this, name, QUEUES[name], this.messageKey).queue;
    this.scanRequests = queue('scanRequests');
    this.scanBackfill = queue('scanBackfill');
    this.registerRequests = queue('registerRequests');

    const accessLogs = this.#bucket('AccessLogs', 'access-logs', { expiresAfterDays: 90, logs: true });
    // Uploads belong to the platform; what Refrain needs of them is over once they are scanned.
    this.uploads = this.#bucket('Uploads', 'uploads', { expiresAfterDays: 30, accessLogs });
    this.references = this.#bucket('References', 'references', { accessLogs });
    // Windows of scans that are going on; what a lost scan left behind is swept up.
    this.evidence = this.#bucket('Evidence', 'evidence', { expiresAfterDays: 14, accessLogs });
    this.#notify(this.uploads, 'uploads', this.scanRequests);
    this.#notify(this.references, 'references', this.registerRequests);
    this.#askEveryNight(this.registerRequests, { type: 'refrain.merge.v1' });

    this.tables = {
      references: this.#table('references'),
      scans: this.#table('scans'),
      cases: this.#table('cases'),
    };
    Tags.of(this).add('refrain:stage', stage.name);
    this.#outputs();
  }

  /** What people and tools must find: where to put files, what waits, and where the records are. */
  #outputs(): void {
    const { uploads, references, evidence, scanRequests, scanBackfill, registerRequests } = this;
    for (const [name, bucket] of Object.entries({ uploads, references, evidence })) {
      new CfnOutput(this, `${name}BucketName`, { value: bucket.bucketName });
    }
    for (const [name, queue] of Object.entries({ scanRequests, scanBackfill, registerRequests })) {
      new CfnOutput(this, `${name}Url`, { value: queue.queueUrl });
      new CfnOutput(this, `${name}DeadLettersUrl`, { value: queue.deadLetterQueue!.queue.queueUrl });
    }
    for (const [name, table] of Object.entries(this.tables)) {
      new CfnOutput(this, `${name}TableName`, { value: table.tableName });
    }
  }

  #key(id: string, description: string): Key {
    return new Key(this, id, {
      description: `Refrain ${this.#stage.name}: ${description}`,
      enableKeyRotation: true,
      removalPolicy: this.#stage.removalPolicy,
    });
  }

  #bucketName(name: string): string {
    return `refrain-${this.#stage.name}-${name}-${this.account}-${this.region}`;
  }

  #bucket(
    id: string,
    name: string,
    options: { expiresAfterDays?: number; accessLogs?: Bucket; logs?: boolean },
  ): Bucket {
    const rules: LifecycleRule[] = [
      {
        abortIncompleteMultipartUploadAfter: Duration.days(2),
        noncurrentVersionExpiration: Duration.days(30),
      },
    ];
    if (options.expiresAfterDays) rules.push({ expiration: Duration.days(options.expiresAfterDays) });
    const bucket = new Bucket(this, id, {
      // A name that is known beforehand lets the queue's policy name the bucket without depending on it.
      bucketName: this.#bucketName(name),
      // S3's log delivery cannot use a customer key.
      ...(options.logs
        ? { encryption: BucketEncryption.S3_MANAGED }
        : { encryption: BucketEncryption.KMS, encryptionKey: this.dataKey, bucketKeyEnabled: true }),
      blockPublicAccess: BlockPublicAccess.BLOCK_ALL,
      objectOwnership: ObjectOwnership.BUCKET_OWNER_ENFORCED,
      enforceSSL: true,
      minimumTLSVersion: 1.2,
      versioned: !options.logs,
      lifecycleRules: rules,
      removalPolicy: this.#stage.removalPolicy,
      ...(options.accessLogs && {
        serverAccessLogsBucket: options.accessLogs,
        serverAccessLogsPrefix: `${name}/`,
      }),
    });
    if (options.logs) {
      acknowledge(bucket, {
        'AwsSolutions-S1': 'It holds the access logs; logging its own accesses would never end.',
      });
    }
    return bucket;
  }

  /**
   * Notifies the queue of new objects by the bucket's own property. The L2 way puts a custom resource, a function and a
   * wildcard role in between, for nothing that a new bucket needs.
   */
  #notify(bucket: Bucket, name: string, queue: Queue): void {
    const bucketArn = `arn:${this.partition}:s3:::${this.#bucketName(name)}`;
    const { statementAdded, policyDependable } = queue.addToResourcePolicy(
      new PolicyStatement({
        principals: [new ServicePrincipal('s3.amazonaws.com')],
        actions: ['sqs:SendMessage'],
        resources: [queue.queueArn],
        conditions: {
          ArnEquals: { 'aws:SourceArn': bucketArn },
          StringEquals: { 'aws:SourceAccount': this.account },
        },
      }),
    );
    const resource = bucket.node.defaultChild as CfnBucket;
    resource.notificationConfiguration = {
      queueConfigurations: [{ event: 's3:ObjectCreated:*', queue: queue.queueArn }],
    };
    // S3 tries the queue when the bucket is made.
    if (statementAdded && policyDependable) bucket.node.addDependency(policyDependable);
  }

  /**
   * Puts a request into the queue every night. Unlike a function that is invoked, a queue tries again, and keeps what
   * fails with the dead letters.
   */
  #askEveryNight(queue: Queue, request: { type: string }): void {
    const rule = new Rule(this, 'EveryNight', {
      description: 'Merges the graphs of the catalogue',
      schedule: Schedule.cron({ hour: String(this.#stage.nightHourUtc), minute: '0' }),
      targets: [{ bind: () => ({ arn: queue.queueArn, input: RuleTargetInput.fromObject(request) }) }],
    });
    queue.addToResourcePolicy(
      new PolicyStatement({
        principals: [new ServicePrincipal('events.amazonaws.com')],
        actions: ['sqs:SendMessage'],
        resources: [queue.queueArn],
        conditions: { ArnEquals: { 'aws:SourceArn': rule.ruleArn } },
      }),
    );
  }

  #table(name: keyof typeof TABLES): Table {
    const { key, indexes } = TABLES[name];
    const attribute = (attributeName: string) => ({ name: attributeName, type: AttributeType.STRING });
    const table = new Table(this, `${name}Table`, {
      tableName: `refrain-${this.#stage.name}-${name}`,
      partitionKey: attribute(key.hash),
      ...('range' in key && { sortKey: attribute(key.range) }),
      billingMode: BillingMode.PAY_PER_REQUEST,
      encryption: TableEncryption.CUSTOMER_MANAGED,
      encryptionKey: this.dataKey,
      pointInTimeRecoverySpecification: { pointInTimeRecoveryEnabled: true },
      deletionProtection: this.#stage.removal === 'retain',
      removalPolicy: this.#stage.removalPolicy,
    });
    for (const [indexName, index] of Object.entries(indexes)) {
      table.addGlobalSecondaryIndex({
        indexName,
        partitionKey: attribute(index.hash),
        sortKey: attribute(index.range),
        projectionType: ProjectionType.KEYS_ONLY,
      });
    }
    return table;
  }
}
