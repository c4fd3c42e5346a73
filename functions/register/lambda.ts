import { MetricUnit } from '@aws-lambda-powertools/metrics';
import type { Context, SQSEvent } from 'aws-lambda';
import { connect } from '../adapters/aws/connect.ts';
import { SqsQueueSender } from '../adapters/aws/queue-sender.ts';
import { RegisterEnvironment, readEnvironment } from '../config.ts';
import { METRICS } from '../constants.ts';
import { DEFAULT_SCAN_SETTINGS } from '../scan/dependencies.ts';
import { createRegisterHandler } from './handler.ts';
import { createOperator, isOperation } from './operate.ts';

const environment = readEnvironment(RegisterEnvironment);
const { clients, dependencies, lambdaHandler, begin, upkeep, metrics } = await connect(
  'register',
  environment,
);
const register = lambdaHandler(
  createRegisterHandler(
    { ...dependencies, upkeep, settings: DEFAULT_SCAN_SETTINGS },
    {
      onMerge: ({ unmerged }) =>
        metrics.addMetric(METRICS.catalogue.unmerged, MetricUnit.Percent, 100 * unmerged),
    },
  ),
);
const operate = createOperator({
  upkeep,
  references: dependencies.references,
  requests: new SqsQueueSender(clients.sqs, environment.REFRAIN_SCAN_REQUESTS_URL),
  model: dependencies.embedder.model,
});

export const handler = (event: SQSEvent | object, context: Context): Promise<object> => {
  if (!isOperation(event)) return register(event as SQSEvent, context);
  begin(context);
  return operate(event);
};
