import type { Context, SQSEvent } from 'aws-lambda';
import { DynamoCaseStore } from '../adapters/aws/case-store.ts';
import { connect } from '../adapters/aws/connect.ts';
import { SqsQueueSender } from '../adapters/aws/queue-sender.ts';
import { DynamoScanStore } from '../adapters/aws/scan-store.ts';
import { readEnvironment, ScanEnvironment } from '../config.ts';
import { DEFAULT_SCAN_SETTINGS } from './dependencies.ts';
import { createScanHandler } from './handler.ts';

/** A run that Lambda has ended holds its claim so much longer than it lived, ms: clocks differ a little. */
const CLAIM_SLACK_MS = 5000;

const environment = readEnvironment(ScanEnvironment);
const { clients, dependencies, lambdaHandler } = await connect('scan', environment);
const deps = {
  ...dependencies,
  scans: new DynamoScanStore(clients, environment.REFRAIN_SCANS_TABLE, environment.REFRAIN_EVIDENCE_BUCKET),
  cases: new DynamoCaseStore(clients.dynamo, environment.REFRAIN_CASES_TABLE),
  scanRequests: new SqsQueueSender(clients.sqs, environment.REFRAIN_SCAN_REQUESTS_URL),
  reviewQueue: new SqsQueueSender(clients.sqs, environment.REFRAIN_REVIEW_QUEUE_URL),
};

export const handler = lambdaHandler((event: SQSEvent, context: Context) => {
  const claimMs = context.getRemainingTimeInMillis() + CLAIM_SLACK_MS;
  const settings = { ...DEFAULT_SCAN_SETTINGS, stride: environment.REFRAIN_SCAN_STRIDE, claimMs };
  return createScanHandler({ ...deps, settings })(event, context);
});
