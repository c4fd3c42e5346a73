import type { CommonEnvironment } from '../../config.ts';
import type { ModelManifest } from '../../core/model.ts';
import { type CatalogueUpkeep, canRebuild } from '../../ports/catalogue-upkeep.ts';
import type { ReferenceStore } from '../../ports/stores.ts';
import { OpenSearchCatalogue } from './opensearch-catalogue.ts';
import { createOpenSearchClient } from './opensearch-client.ts';
import { CatalogueError } from './opensearch-errors.ts';
import type { OpenSearchIndex, OpenSearchIndexSettings } from './opensearch-index.ts';
import { OpenSearchUpkeep } from './opensearch-upkeep.ts';
import type { RetryPolicy } from './retry.ts';
import { ServerlessCatalogue } from './serverless-catalogue.ts';
import { ServerlessUpkeep } from './serverless-upkeep.ts';

export interface OpenedCatalogue {
  catalogue: OpenSearchIndex;
  upkeep: CatalogueUpkeep;
}

/** The catalogue that is deployed: in a cluster, or in a collection of OpenSearch Serverless. */
export function openCatalogue(
  environment: CommonEnvironment,
  model: ModelManifest,
  retry: RetryPolicy,
): OpenedCatalogue {
  const service = environment.REFRAIN_OPENSEARCH_SERVICE;
  const client = createOpenSearchClient({
    url: environment.REFRAIN_OPENSEARCH_ENDPOINT,
    auth:
      environment.REFRAIN_OPENSEARCH_AUTH === 'sigv4'
        ? { kind: 'sigv4', region: environment.AWS_REGION, service }
        : { kind: 'none' },
  });
  const settings: OpenSearchIndexSettings & { modelId: string } = {
    modelId: model.id,
    dimension: model.dimension,
    engine: environment.REFRAIN_OPENSEARCH_ENGINE,
    encoder: environment.REFRAIN_OPENSEARCH_ENCODER,
    refreshInterval: environment.REFRAIN_OPENSEARCH_REFRESH_INTERVAL,
    retry,
  };
  if (service === 'aoss') {
    const catalogue = new ServerlessCatalogue(client, settings);
    return { catalogue, upkeep: new ServerlessUpkeep(catalogue, model) };
  }
  const ofCluster = {
    ...settings,
    shards: environment.REFRAIN_OPENSEARCH_SHARDS,
    replicas: environment.REFRAIN_OPENSEARCH_REPLICAS,
  };
  return {
    catalogue: new OpenSearchCatalogue(client, ofCluster),
    upkeep: new OpenSearchUpkeep(client, model, ofCluster),
  };
}

/**
 * Makes the index when there is none yet. When there is none any more, an empty one would turn every upload into
 * "nothing found".
 * @throws CatalogueError when the index is missing, but references are not; or when it is not as it is deployed
 */
export async function prepareCatalogue(
  { catalogue, upkeep }: OpenedCatalogue,
  references: ReferenceStore,
): Promise<void> {
  const rebuild = canRebuild(upkeep) ? upkeep : undefined;
  // What is lost or does not fit is being made anew, and until then every search says so.
  if (await rebuild?.next()) return;
  if (await catalogue.exists()) {
    if (!rebuild || (await rebuild.fits())) return;
    throw new CatalogueError(
      `the index behind ${catalogue.name} holds vectors in another way than is deployed: make it anew ("refrain aws ` +
        'reindex"), or deploy the encoder that it was made with',
    );
  }
  const { items } = await references.list({ limit: 1 });
  if (items.length > 0) {
    throw new CatalogueError(
      `the index behind ${catalogue.name} is gone, though references are registered: restore it from a snapshot, ` +
        'or make it anew ("refrain aws reindex")',
    );
  }
  await catalogue.ensureIndex();
}
