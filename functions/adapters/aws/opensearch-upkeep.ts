import type { Client } from '@opensearch-project/opensearch';
import type { CatalogueState, IndexState } from '../../core/catalogue-state.ts';
import type { ModelManifest } from '../../core/model.ts';
import type { CatalogueUpkeep } from '../../ports/catalogue-upkeep.ts';
import { OpenSearchCatalogue, type OpenSearchCatalogueSettings } from './opensearch-catalogue.ts';

/** The indexes of one model's catalogue in OpenSearch. */
export class OpenSearchUpkeep implements CatalogueUpkeep {
  readonly #client: Client;
  readonly #model: ModelManifest;
  readonly #live: OpenSearchCatalogue;
  /** Found under a name of its own, until it takes over. */
  readonly #next: OpenSearchCatalogue;

  constructor(client: Client, model: ModelManifest, settings: OpenSearchCatalogueSettings) {
    this.#client = client;
    this.#model = model;
    this.#live = new OpenSearchCatalogue(client, settings);
    this.#next = new OpenSearchCatalogue(client, { ...settings, alias: `${this.#live.alias}-next` });
  }

  async state(): Promise<CatalogueState> {
    const { id, sha256 } = this.#model;
    const [live, next] = [await this.#stateOf(this.#live), await this.#stateOf(this.#next)];
    return {
      model: { id, sha256 },
      alias: this.#live.alias,
      ...(live && { live }),
      ...(next && { next }),
    };
  }

  async remove(referenceId: string): Promise<number> {
    if (await this.#next.exists()) await this.#next.remove(referenceId);
    return (await this.#live.exists()) ? this.#live.remove(referenceId) : 0;
  }

  async #stateOf(catalogue: OpenSearchCatalogue): Promise<IndexState | undefined> {
    if (!(await catalogue.exists())) return undefined;
    const { body } = await this.#client.indices.stats({ index: catalogue.alias, metric: ['store'] });
    const { indices = {}, _all } = body as unknown as StoreStats;
    return {
      index: Object.keys(indices).join(', '),
      bytes: _all.total.store.size_in_bytes,
      ...(await catalogue.stats()),
    };
  }
}

interface StoreStats {
  indices: Record<string, unknown>;
  _all: { total: { store: { size_in_bytes: number } } };
}
