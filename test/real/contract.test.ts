import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CreateEventBusCommand, PutRuleCommand, PutTargetsCommand } from '@aws-sdk/client-eventbridge';
import { DeleteObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3';
import { GetQueueAttributesCommand } from '@aws-sdk/client-sqs';
import { inject, onTestFinished } from 'vitest';
import { DynamoCaseStore } from '../../functions/adapters/aws/case-store.ts';
import { EventBridgeBus } from '../../functions/adapters/aws/event-bus.ts';
import { S3ObjectStore } from '../../functions/adapters/aws/object-store.ts';
import { OpenSearchCatalogue } from '../../functions/adapters/aws/opensearch-catalogue.ts';
import { createOpenSearchClient } from '../../functions/adapters/aws/opensearch-client.ts';
import { SqsQueueSender } from '../../functions/adapters/aws/queue-sender.ts';
import { DynamoReferenceStore } from '../../functions/adapters/aws/reference-store.ts';
import { DynamoScanStore } from '../../functions/adapters/aws/scan-store.ts';
import { ServerlessCatalogue } from '../../functions/adapters/aws/serverless-catalogue.ts';
import type { CloudEvent } from '../../functions/ports/events.ts';
import { describeCaseStoreContract } from '../contract/case-store.contract.ts';
import { describeCatalogueContract } from '../contract/catalogue.contract.ts';
import { describeEventBusContract } from '../contract/event-bus.contract.ts';
import { describeObjectStoreContract } from '../contract/object-store.contract.ts';
import { describeQueueContract } from '../contract/queue.contract.ts';
import { describeReferenceStoreContract } from '../contract/reference-store.contract.ts';
import { describeScanStoreContract } from '../contract/scan-store.contract.ts';
import { awsClients, createBucket, createQueue, createTable, receiveAll, unique } from './support/aws.ts';
import { FaultyProxy } from './support/faulty-proxy.ts';
import { likeServerless } from './support/serverless-rules.ts';

// The contracts that the local adapters keep, kept by the AWS adapters on the genuine servers.

const clients = awsClients();
const openSearch = createOpenSearchClient({ url: inject('openSearchUrl'), auth: { kind: 'none' } });

for (const encoder of ['none', 'byte'] as const) {
  describeCatalogueContract(`OpenSearchCatalogue (${encoder})`, async (dimension) => {
    const catalogue = new OpenSearchCatalogue(openSearch, {
      modelId: randomUUID(),
      dimension,
      engine: 'lucene',
      encoder,
      refreshInterval: '100ms',
    });
    await catalogue.ensureIndex();
    onTestFinished(async () => {
      await openSearch.indices.delete({ index: `${catalogue.alias}-000001` });
    });
    return catalogue;
  });
}

describeCatalogueContract('ServerlessCatalogue', async (dimension) => {
  const proxy = await FaultyProxy.before(inject('openSearchUrl'));
  proxy.fault = likeServerless;
  const catalogue = new ServerlessCatalogue(
    createOpenSearchClient({ url: proxy.url, auth: { kind: 'none' } }),
    { modelId: randomUUID(), dimension, engine: 'lucene', refreshInterval: '500ms', pollMs: 50 },
  );
  await catalogue.ensureIndex();
  onTestFinished(async () => {
    await openSearch.indices.delete({ index: catalogue.name });
    await proxy.close();
  });
  return catalogue;
});

describeReferenceStoreContract(
  'DynamoReferenceStore',
  async () => new DynamoReferenceStore(clients.dynamo, await createTable(clients, 'references')),
);

describeScanStoreContract('DynamoScanStore', async () => {
  const table = await createTable(clients, 'scans');
  return new DynamoScanStore(clients, table, await createBucket(clients));
});

describeCaseStoreContract(
  'DynamoCaseStore',
  async () => new DynamoCaseStore(clients.dynamo, await createTable(clients, 'cases')),
);

describeObjectStoreContract('S3ObjectStore', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'refrain-test-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const Bucket = await createBucket(clients, { versioned: false });
  return {
    store: new S3ObjectStore(clients.s3, { folder, maxBytes: 10_000_000 }),
    bucket: Bucket,
    put: async (Key, Body) => {
      await clients.s3.send(new PutObjectCommand({ Bucket, Key, Body }));
    },
    delete: async (Key) => {
      await clients.s3.send(new DeleteObjectCommand({ Bucket, Key }));
    },
  };
});

describeQueueContract('SqsQueueSender', async () => {
  const url = await createQueue(clients);
  return { queue: new SqsQueueSender(clients.sqs, url), drain: () => receiveAll(clients, url) };
});

describeEventBusContract('EventBridgeBus', async () => {
  // A rule that passes everything on to a queue, from which the test reads.
  const EventBusName = unique('bus');
  const QueueUrl = await createQueue(clients);
  const { Attributes } = await clients.sqs.send(
    new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ['QueueArn'] }),
  );
  const rule = { Name: 'all', EventBusName };
  await clients.eventBridge.send(new CreateEventBusCommand({ Name: EventBusName }));
  await clients.eventBridge.send(
    new PutRuleCommand({
      ...rule,
      EventPattern: JSON.stringify({ 'detail-type': [{ prefix: 'refrain.' }] }),
    }),
  );
  await clients.eventBridge.send(
    new PutTargetsCommand({
      Rule: rule.Name,
      EventBusName,
      Targets: [{ Id: 'queue', Arn: Attributes!.QueueArn!, InputPath: '$.detail' }],
    }),
  );

  const events: CloudEvent[] = [];
  return {
    bus: new EventBridgeBus(clients.eventBridge, EventBusName),
    received: async (count) => {
      for (const end = Date.now() + 10_000; events.length < count && Date.now() < end; await sleep(50)) {
        events.push(...(await receiveAll(clients, QueueUrl)).map((body) => JSON.parse(body)));
      }
      return events;
    },
  };
});
