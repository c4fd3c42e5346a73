import { Duration } from 'aws-cdk-lib';
import type { IKey } from 'aws-cdk-lib/aws-kms';
import { Queue, QueueEncryption } from 'aws-cdk-lib/aws-sqs';
import type { Construct } from 'constructs';
import type { QueueLimits } from '../functions/constants.ts';
import { acknowledge } from './acknowledge.ts';

/** Dead letters are kept as long as SQS allows, so that a long weekend loses nothing. */
const DEAD_LETTER_DAYS = 14;

/** A queue, and where its messages go when they keep failing. Both encrypted, both over TLS only. */
export function queueWithDeadLetters(
  scope: Construct,
  id: string,
  limits: QueueLimits,
  encryptionMasterKey: IKey,
): { queue: Queue; deadLetters: Queue } {
  const common = { encryption: QueueEncryption.KMS, encryptionMasterKey, enforceSSL: true };
  const deadLetters = new Queue(scope, `${id}DeadLetters`, {
    ...common,
    retentionPeriod: Duration.days(DEAD_LETTER_DAYS),
  });
  acknowledge(deadLetters, { 'AwsSolutions-SQS3': 'This is itself the queue for dead letters.' });
  const queue = new Queue(scope, id, {
    ...common,
    visibilityTimeout: Duration.seconds(limits.visibilitySeconds),
    retentionPeriod: Duration.days(limits.retentionDays),
    receiveMessageWaitTime: Duration.seconds(20),
    deadLetterQueue: { queue: deadLetters, maxReceiveCount: limits.maxReceives },
  });
  return { queue, deadLetters };
}
