import { rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Logger } from '@aws-lambda-powertools/logger';
import { Metrics } from '@aws-lambda-powertools/metrics';
import type { Context, SQSBatchResponse, SQSEvent } from 'aws-lambda';
import type { CommonEnvironment } from '../../config.ts';
import { METRICS } from '../../constants.ts';
import { readManifest } from '../../embed/model-folder.ts';
import { systemClock } from '../../ports/clock.ts';
import type { Log } from '../../ports/log.ts';
import { MediaDecoder } from '../media/decoder.ts';
import { createAwsClients } from './clients.ts';
import { EventBridgeBus } from './event-bus.ts';
import { LambdaEmbedder } from './lambda-embedder.ts';
import { MeteredEventBus } from './metered-event-bus.ts';
import { S3ObjectStore } from './object-store.ts';
import { openCatalogue, prepareCatalogue } from './open-catalogue.ts';
import { shortenRedelivery } from './redelivery.ts';
import { DynamoReferenceStore } from './reference-store.ts';
import { PATIENT, type RetryPolicy } from './retry.ts';

/** What is left of the 10 GB of a function's disk for one object. */
const MAX_OBJECT_BYTES = 9 * 1024 ** 3;
/** A function must have so much of its time left after its last retry, to put things in order, ms. */
const ORDER_MS = 10_000;

/** What scan and register have in common: one set of clients per process. */
export async function connect(service: string, environment: CommonEnvironment) {
  const logger = new Logger({ serviceName: service });
  const log = logOf(logger);
  // Under the name of the deployment (POWERTOOLS_SERVICE_NAME), which its alarms watch.
  const metrics = new Metrics({ namespace: METRICS.namespace });
  const clients = createAwsClients({
    region: environment.AWS_REGION,
    ...(environment.AWS_ENDPOINT_URL && { endpoint: environment.AWS_ENDPOINT_URL }),
  });
  const model = await readManifest(environment.REFRAIN_MODEL_DIR);

  let remainingMs = () => Number.POSITIVE_INFINITY;
  const retry: RetryPolicy = {
    ...PATIENT,
    // A call that is still retrying when Lambda ends the function would leave its scan claimed.
    get budgetMs() {
      return Math.min(environment.REFRAIN_PATIENCE_SECONDS * 1000, remainingMs() - ORDER_MS);
    },
  };

  const { catalogue, upkeep } = openCatalogue(environment, model, retry);
  const references = new DynamoReferenceStore(clients.dynamo, environment.REFRAIN_REFERENCES_TABLE);

  const folder = join(tmpdir(), 'refrain');
  // An invocation that ran into its time-out leaves its file behind.
  rmSync(folder, { recursive: true, force: true });

  const dependencies = {
    objects: new S3ObjectStore(clients.s3, { folder, maxBytes: MAX_OBJECT_BYTES }),
    decoder: new MediaDecoder(),
    embedder: new LambdaEmbedder(clients.lambda, {
      functionName: environment.REFRAIN_EMBED_FUNCTION,
      model,
      retry,
    }),
    catalogue,
    references,
    events: new MeteredEventBus(
      new EventBridgeBus(clients.eventBridge, environment.REFRAIN_EVENT_BUS),
      metrics,
    ),
    clock: systemClock,
    log,
  };

  let ready: Promise<void> | undefined;

  /** Tells retries and log lines of the invocation that begins. */
  const begin = (context: Context): void => {
    remainingMs = () => context.getRemainingTimeInMillis();
    logger.addContext(context);
  };

  /** Wraps what every invocation needs around the handler. */
  const lambdaHandler =
    (handle: (event: SQSEvent, context: Context) => Promise<SQSBatchResponse>) =>
    async (event: SQSEvent, context: Context): Promise<SQSBatchResponse> => {
      begin(context);
      try {
        ready ??= prepareCatalogue({ catalogue, upkeep }, references);
        const response = await ready
          .then(() => handle(event, context))
          .catch((error) => {
            // Not of one message's making: the next invocation prepares anew.
            ready = undefined;
            log.error('the function could not begin', { error });
            return {
              batchItemFailures: event.Records.map(({ messageId: itemIdentifier }) => ({ itemIdentifier })),
            };
          });
        await shortenRedelivery(event, response, {
          sqs: clients.sqs,
          queueUrl: environment.REFRAIN_SCAN_REQUESTS_URL,
          baseSeconds: environment.REFRAIN_RETRY_SECONDS,
          log,
        });
        return response;
      } finally {
        if (metrics.hasStoredMetrics()) metrics.publishStoredMetrics();
      }
    };

  return { clients, dependencies, lambdaHandler, begin, upkeep, metrics };
}

const logOf = (logger: Logger): Log => ({
  debug: (message, details = {}) => logger.debug(message, details),
  info: (message, details = {}) => logger.info(message, details),
  warn: (message, details = {}) => logger.warn(message, details),
  error: (message, details = {}) => logger.error(message, details),
});
