import { Duration, Stack, type StackProps } from 'aws-cdk-lib';
import {
  Alarm,
  ComparisonOperator,
  Dashboard,
  GraphWidget,
  type IMetric,
  MathExpression,
  Metric,
  TreatMissingData,
} from 'aws-cdk-lib/aws-cloudwatch';
import { SnsAction } from 'aws-cdk-lib/aws-cloudwatch-actions';
import { PolicyStatement, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import type { Key } from 'aws-cdk-lib/aws-kms';
import type { Function as LambdaFunction } from 'aws-cdk-lib/aws-lambda';
import { Topic } from 'aws-cdk-lib/aws-sns';
import { EmailSubscription } from 'aws-cdk-lib/aws-sns-subscriptions';
import type { Queue } from 'aws-cdk-lib/aws-sqs';
import type { Construct } from 'constructs';
import { METRICS } from '../../functions/constants.ts';
import { ALARMS, type AlarmName, runbookLink } from '../alarms.ts';
import { type Stage, serviceOf } from '../stage.ts';
import type { CatalogueAccess } from './catalogue-stack.ts';
import type { PipelineStack } from './pipeline-stack.ts';
import type { ReviewStack } from './review-stack.ts';
import type { StorageStack } from './storage-stack.ts';

const FIVE_MINUTES = Duration.minutes(5);

/** What an operator looks at, and what wakes them. Every alarm names its section of the runbook. */
export class MonitoringStack extends Stack {
  readonly #topic: Topic;
  readonly #stage: Stage;

  constructor(
    scope: Construct,
    id: string,
    stage: Stage,
    parts: {
      storage: StorageStack;
      catalogue: CatalogueAccess;
      review: ReviewStack;
      pipeline: PipelineStack;
    },
    props: StackProps,
  ) {
    super(scope, id, props);
    this.#stage = stage;
    this.#topic = this.#alarmTopic(parts.storage.messageKey);
    const { storage, review, pipeline } = parts;
    const queues = {
      scanRequests: storage.scanRequests,
      scanBackfill: storage.scanBackfill,
      registerRequests: storage.registerRequests,
      review: review.reviewQueue,
    };

    for (const [name, queue] of Object.entries(queues)) {
      this.#alarm(
        'deadLetters',
        name,
        deadLettersOf(queue).metricApproximateNumberOfMessagesVisible({ period: FIVE_MINUTES }),
        0,
      );
    }
    this.#alarm('queueAge', 'scanRequests', ageOf(queues.scanRequests), 15 * 60);
    this.#alarm('indexLag', '', ageOf(queues.registerRequests), 60 * 60);
    this.#alarm('queueAge', 'review', ageOf(queues.review), 24 * 60 * 60);
    for (const [name, listener] of Object.entries(pipeline.functions)) {
      this.#alarm('errors', name, listener.metricErrors({ period: FIVE_MINUTES }), 5);
      this.#alarm('throttles', name, listener.metricThrottles({ period: FIVE_MINUTES }), 20);
    }
    this.#alarm('incompleteScans', '', domainMetric('incompleteScans', stage), 10);
    this.#alarm('costPerHour', '', costPerScannedHour(pipeline.functions, stage), 0.25);
    this.#alarm('unmerged', '', unmergedPercent(stage), 50);
    for (const [name, { metric, above }] of Object.entries(parts.catalogue.watched)) {
      this.#alarm(name as keyof typeof parts.catalogue.watched, '', metric, above);
    }
    this.#dashboard(queues, pipeline.functions, stage);
  }

  #alarmTopic(key: Key): Topic {
    const topic = new Topic(this, 'Alarms', { masterKey: key, enforceSSL: true });
    // Spelled out: the construct's own grant comes with wildcard actions.
    key.addToResourcePolicy(
      new PolicyStatement({
        principals: [new ServicePrincipal('cloudwatch.amazonaws.com')],
        actions: ['kms:Decrypt', 'kms:GenerateDataKey'],
        resources: ['*'],
      }),
    );
    if (this.#stage.alarmEmail) topic.addSubscription(new EmailSubscription(this.#stage.alarmEmail));
    return topic;
  }

  #alarm(name: AlarmName, of: string, metric: IMetric, above: number): void {
    const { what, periods } = ALARMS[name];
    const alarm = new Alarm(this, `${name}${of}`, {
      alarmName: ['refrain', this.#stage.name, name, of].filter(Boolean).join('-'),
      alarmDescription: `${what}${of && ` (${of})`}. What to do: ${runbookLink(name)}`,
      metric,
      threshold: above,
      comparisonOperator: ComparisonOperator.GREATER_THAN_THRESHOLD,
      evaluationPeriods: periods,
      treatMissingData: TreatMissingData.NOT_BREACHING,
    });
    alarm.addAlarmAction(new SnsAction(this.#topic));
  }

  #dashboard(queues: Record<string, Queue>, functions: Record<string, LambdaFunction>, stage: Stage): void {
    const graph = (title: string, left: IMetric[]) => new GraphWidget({ title, left, width: 12 });
    new Dashboard(this, 'Dashboard', {
      dashboardName: `refrain-${stage.name}`,
      widgets: [
        [
          graph(
            'Verdicts',
            (['clear', 'flagged', 'rejected', 'incompleteScans'] as const).map((name) =>
              domainMetric(name, stage),
            ),
          ),
          graph('Age of the oldest message, s', Object.values(queues).map(ageOf)),
        ],
        [
          graph(
            'Waiting messages',
            Object.values(queues).map((queue) => queue.metricApproximateNumberOfMessagesVisible()),
          ),
          graph(
            'Dead letters',
            Object.values(queues).map((queue) =>
              deadLettersOf(queue).metricApproximateNumberOfMessagesVisible(),
            ),
          ),
        ],
        [
          graph(
            'Duration p95, ms',
            Object.values(functions).map((listener) => listener.metricDuration({ statistic: 'p95' })),
          ),
          graph(
            'Concurrent runs',
            Object.values(functions).map((listener) =>
              listener.metric('ConcurrentExecutions', { statistic: 'max' }),
            ),
          ),
        ],
        [graph('Compute cost per scanned hour, USD', [costPerScannedHour(functions, stage)])],
      ],
    });
  }
}

const ageOf = (queue: Queue): Metric =>
  queue.metricApproximateAgeOfOldestMessage({ period: FIVE_MINUTES, statistic: 'max' });

const deadLettersOf = (queue: Queue): Queue => queue.deadLetterQueue!.queue as Queue;

function domainMetric(name: keyof typeof METRICS.names, stage: Stage): Metric {
  return new Metric({
    namespace: METRICS.namespace,
    metricName: METRICS.names[name],
    dimensionsMap: { service: serviceOf(stage) },
    statistic: 'sum',
    period: FIVE_MINUTES,
  });
}

/** Measured once a night, before merging begins. */
const unmergedPercent = (stage: Stage): Metric =>
  new Metric({
    namespace: METRICS.namespace,
    metricName: METRICS.catalogue.unmerged,
    dimensionsMap: { service: serviceOf(stage) },
    statistic: 'max',
    period: Duration.days(1),
  });

/** Lambda's price for arm64, USD per GB-second; see the capacity planner for the rest of the bill. */
const USD_PER_GB_SECOND = 0.0000133334;

/** Lambda seconds times memory times price, over the hours of audio that were searched. */
function costPerScannedHour(functions: Record<string, LambdaFunction>, stage: Stage): MathExpression {
  const parts = Object.entries(functions).map(([name, listener]) => ({
    id: `${name}Ms`,
    metric: listener.metricDuration({ statistic: 'sum', period: Duration.hours(1) }),
    gigabytes: (listener.node.defaultChild as unknown as { memorySize: number }).memorySize / 1024,
  }));
  const gigabyteSeconds = parts
    .map(({ id, gigabytes }) => `${id} / 1000 * ${gigabytes.toFixed(3)}`)
    .join(' + ');
  return new MathExpression({
    label: 'USD per scanned hour',
    expression: `(${gigabyteSeconds}) * ${USD_PER_GB_SECOND} / (searchedMs / 3600000)`,
    usingMetrics: {
      ...Object.fromEntries(parts.map(({ id, metric }) => [id, metric])),
      searchedMs: domainMetric('searchedMs', stage).with({ period: Duration.hours(1) }),
    },
    period: Duration.hours(1),
  });
}
