import { ArnFormat, CfnOutput, Stack, type StackProps } from 'aws-cdk-lib';
import { CfnRule, EventBus } from 'aws-cdk-lib/aws-events';
import { PolicyStatement, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import type { Key } from 'aws-cdk-lib/aws-kms';
import { LogGroup, ResourcePolicy, RetentionDays } from 'aws-cdk-lib/aws-logs';
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
      removalPolicy: stage.removalPolicy,
    });
    // The L2 target would add a function with a wildcard role that writes this same policy.
    new ResourcePolicy(this, 'LogPolicy', {
      policyStatements: [
        new PolicyStatement({
          principals: [
            new ServicePrincipal('events.amazonaws.com'),
            new ServicePrincipal('delivery.logs.amazonaws.com'),
          ],
          actions: ['logs:PutLogEvents', 'logs:CreateLogStream'],
          resources: [log.logGroupArn],
        }),
      ],
    });
    new CfnRule(this, 'KeepVerdicts', {
      eventBusName: this.bus.eventBusName,
      eventPattern: { account: [this.account] },
      targets: [
        {
          id: 'log',
          arn: this.formatArn({
            service: 'logs',
            resource: 'log-group',
            resourceName: log.logGroupName,
            arnFormat: ArnFormat.COLON_RESOURCE_NAME,
          }),
        },
      ],
    });

    new CfnOutput(this, 'reviewUrl', { value: this.reviewQueue.queueUrl });
    new CfnOutput(this, 'reviewDeadLettersUrl', { value: this.reviewQueue.deadLetterQueue!.queue.queueUrl });
    new CfnOutput(this, 'verdictBusName', { value: this.bus.eventBusName });
  }
}
