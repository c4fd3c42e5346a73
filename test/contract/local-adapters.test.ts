import { mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { LocalObjectStore } from '../../local/adapters/object-store.ts';
import { describeCaseStoreContract } from './case-store.contract.ts';
import { describeCatalogueContract } from './catalogue.contract.ts';
import { describeEventBusContract } from './event-bus.contract.ts';
import { describeObjectStoreContract } from './object-store.contract.ts';
import { describeQueueContract } from './queue.contract.ts';
import { describeReferenceStoreContract } from './reference-store.contract.ts';
import { describeScanStoreContract } from './scan-store.contract.ts';
import { temporaryFolder, temporaryStore } from './temporary.ts';

describeCatalogueContract('LocalCatalogue', async (dimension) => {
  const store = await temporaryStore();
  return store.catalogue({ id: 'test-model', dimension });
});

describeReferenceStoreContract('LocalReferenceStore', async () => (await temporaryStore()).references);

describeScanStoreContract('LocalScanStore', async () => (await temporaryStore()).scans);

describeCaseStoreContract('LocalCaseStore', async () => (await temporaryStore()).cases);

describeObjectStoreContract('LocalObjectStore', async () => {
  const folder = temporaryFolder();
  const path = (key: string) => join(folder, key);
  return {
    store: new LocalObjectStore({ uploads: folder }),
    bucket: 'uploads',
    put: async (key, content) => {
      await mkdir(dirname(path(key)), { recursive: true });
      await writeFile(path(key), content);
    },
    delete: (key) => rm(path(key)),
  };
});

describeQueueContract('LocalQueue', async () => {
  const queue = (await temporaryStore()).queue('requests');
  return {
    queue,
    drain: async () => {
      const records = await queue.receive();
      for (const { receiptHandle } of records) await queue.delete(receiptHandle);
      return records.map((record) => record.body);
    },
  };
});

describeEventBusContract('LocalEventBus', async () => {
  const { events } = await temporaryStore();
  return { bus: events, received: async () => (await events.list()).items };
});
