import { RemovalPolicy, Stack, type StackProps } from 'aws-cdk-lib';
import { EventBus, Rule } from 'aws-cdk-lib/aws-events';
import { CloudWatchLogGroup } from 'aws-cdk-lib/aws-events-targets';
import type { Key } from 'aws-cdk-lib/aws-kms';
import { LogGroup, RetentionDays } from 'aws-cdk-lib/aws-logs';
import type { Queue } from 'aws-cdk-lib/aws-sqs';
import type { Construct } from 'constructs';
import { QUEUES } from '../../functions/constants.ts';
import { queueWithDeadLetters } from '../queues.ts';
import type { Stage } from '../stage.ts';

/** Where people and platforms listen: the review queue for moderators, the bus for verdicts. */
export class ReviewStack extends Stack {
  readonly reviewQueue: Queue;
  readonly bus: EventBus;

  constructor(scope: Construct, id: string, stage: Stage, messageKey: Key, props: StackProps) {
    super(scope, id, props);
    this.reviewQueue = queueWithDeadLetters(this, 'review', QUEUES.review, messageKey).queue;
    this.bus = new EventBus(this, 'Verdicts', { eventBusName: `refrain-${stage.name}` });

    // Every verdict leaves a trace that outlives its subscribers.
    const log = new LogGroup(this, 'VerdictLog', {
      logGroupName: `/aws/events/refrain-${stage.name}`,
      retention: RetentionDays.ONE_YEAR,
      removalPolicy: stage.removal === 'retain' ? RemovalPolicy.RETAIN : RemovalPolicy.DESTROY,
    });
    new Rule(this, 'KeepVerdicts', {
      eventBus: this.bus,
      eventPattern: { account: [this.account] },
      targets: [new CloudWatchLogGroup(log)],
    });
  }
}
