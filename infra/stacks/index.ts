import { type App, Stack, type StackProps } from 'aws-cdk-lib';
import type { Bundles } from '../bundle.ts';
import { type Stage, serviceOf } from '../stage.ts';
import { CatalogueStack, externalCatalogue } from './catalogue-stack.ts';
import { MonitoringStack } from './monitoring-stack.ts';
import { PipelineStack } from './pipeline-stack.ts';
import { ReviewStack } from './review-stack.ts';
import { ServerlessCatalogueStack } from './serverless-catalogue-stack.ts';
import { StorageStack } from './storage-stack.ts';

/** The whole of Refrain in one account: five stacks, each depending only on those above it. */
export function createStacks(app: App, stage: Stage, bundles: Bundles) {
  const named = (name: string, description: string): [string, StackProps] => [
    `${serviceOf(stage)}-${name}`,
    { description: `Refrain: ${description}`, terminationProtection: stage.removal === 'retain' },
  ];
  const [storageId, storageProps] = named('storage', 'buckets, request queues, records and keys');
  const storage = new StorageStack(app, storageId, stage, storageProps);
  const [catalogueId, catalogueProps] = named('catalogue', 'the searchable reference catalogue');
  const catalogue = (() => {
    const settings = stage.catalogue;
    switch (settings.kind) {
      case 'domain':
        return new CatalogueStack(app, catalogueId, stage, settings, storage.dataKey, catalogueProps);
      case 'serverless':
        return new ServerlessCatalogueStack(
          app,
          catalogueId,
          stage,
          settings,
          storage.dataKey,
          catalogueProps,
        );
      case 'external':
        return externalCatalogue(settings.endpoint);
    }
  })();
  const [reviewId, reviewProps] = named('review', 'review queue and verdict events');
  const review = new ReviewStack(app, reviewId, stage, storage.messageKey, reviewProps);
  const [pipelineId, pipelineProps] = named('pipeline', 'scan, register and embed functions');
  const pipeline = new PipelineStack(
    app,
    pipelineId,
    stage,
    { storage, catalogue, review, bundles },
    pipelineProps,
  );
  const [monitoringId, monitoringProps] = named('monitoring', 'dashboard and alarms');
  const monitoring = new MonitoringStack(
    app,
    monitoringId,
    stage,
    { storage, catalogue, review, pipeline },
    monitoringProps,
  );
  return { storage, ...(catalogue instanceof Stack && { catalogue }), review, pipeline, monitoring };
}
