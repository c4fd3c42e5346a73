import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SQSEvent } from 'aws-lambda';
import { onTestFinished } from 'vitest';
import type { AwsClients } from '../../../functions/adapters/aws/clients.ts';
import { EventBridgeBus } from '../../../functions/adapters/aws/event-bus.ts';
import { S3ObjectStore } from '../../../functions/adapters/aws/object-store.ts';
import { OpenSearchCatalogue } from '../../../functions/adapters/aws/opensearch-catalogue.ts';
import { createOpenSearchClient } from '../../../functions/adapters/aws/opensearch-client.ts';
import { SqsQueueSender } from '../../../functions/adapters/aws/queue-sender.ts';
import { MediaDecoder } from '../../../functions/adapters/media/decoder.ts';
import { objectCreated } from '../../../functions/core/requests.ts';
import type { ObjectVersion } from '../../../functions/core/scan.ts';
import { OnnxModel } from '../../../functions/embed/onnx-model.ts';
import { systemClock } from '../../../functions/ports/clock.ts';
import { DEFAULT_SCAN_SETTINGS, type ScanDependencies } from '../../../functions/scan/dependencies.ts';
import { delivery as deliveryOf } from '../../support/delivery.ts';
import { type Deployment, MODEL_DIR } from './deployment.ts';

/**
 * The functions' handlers in this process, on the same servers: for faults that must strike at a certain moment.
 * The model runs in this process, too.
 */
export async function dependenciesOf(
  deployment: Deployment,
  clients: AwsClients,
  openSearchUrl = deployment.openSearchUrl,
): Promise<ScanDependencies & { catalogue: OpenSearchCatalogue }> {
  const folder = mkdtempSync(join(tmpdir(), 'refrain-test-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const embedder = await OnnxModel.load(MODEL_DIR);
  const catalogue = new OpenSearchCatalogue(
    createOpenSearchClient({ url: openSearchUrl, auth: { kind: 'none' } }),
    {
      modelId: embedder.model.id,
      dimension: embedder.model.dimension,
      engine: 'lucene',
      refreshInterval: '200ms',
    },
  );
  return {
    objects: new S3ObjectStore(clients.s3, { folder, maxBytes: 1e9 }),
    decoder: new MediaDecoder(),
    embedder,
    catalogue,
    ...deployment.stores,
    scanRequests: new SqsQueueSender(clients.sqs, deployment.scanRequests.url),
    reviewQueue: new SqsQueueSender(clients.sqs, deployment.reviewQueue),
    events: new EventBridgeBus(clients.eventBridge, deployment.bus),
    clock: systemClock,
    log: { debug() {}, info() {}, warn() {}, error() {} },
    settings: { ...DEFAULT_SCAN_SETTINGS, windowSegments: 20 },
  };
}

/** What SQS would hand to a function for these uploads. */
export const delivery = (...objects: ObjectVersion[]): SQSEvent => deliveryOf(...objects.map(objectCreated));

export const invocation = (worker: string) => ({
  awsRequestId: worker,
  getRemainingTimeInMillis: () => 900_000,
});
