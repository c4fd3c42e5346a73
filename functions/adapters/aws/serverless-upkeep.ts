import type { CatalogueState } from '../../core/catalogue-state.ts';
import type { ModelManifest } from '../../core/model.ts';
import type { CatalogueUpkeep } from '../../ports/catalogue-upkeep.ts';
import type { ServerlessCatalogue } from './serverless-catalogue.ts';

/** What is left to look after where Serverless runs the index: it merges by itself, and tells nothing of graphs or disk. */
export class ServerlessUpkeep implements CatalogueUpkeep {
  readonly #catalogue: ServerlessCatalogue;
  readonly #model: ModelManifest;

  constructor(catalogue: ServerlessCatalogue, model: ModelManifest) {
    this.#catalogue = catalogue;
    this.#model = model;
  }

  async state(): Promise<CatalogueState> {
    const { id, sha256 } = this.#model;
    const { name } = this.#catalogue;
    const exists = await this.#catalogue.exists();
    return {
      model: { id, sha256 },
      alias: name,
      ...(exists && {
        live: { index: name, ...(await this.#catalogue.stats()), unmerged: 0, merging: false },
      }),
    };
  }

  async remove(referenceId: string): Promise<number> {
    return (await this.#catalogue.exists()) ? this.#catalogue.remove(referenceId) : 0;
  }

  async merge(): Promise<boolean> {
    return false;
  }
}
