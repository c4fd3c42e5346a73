import { InvokeCommand, type LambdaClient } from '@aws-sdk/client-lambda';
import { type CatalogueOperation, CatalogueState, ReindexProgress } from '../../core/catalogue-state.ts';
import { RefrainError } from '../../core/errors.ts';
import type { CatalogueUpkeep } from '../../ports/catalogue-upkeep.ts';

type Asked = CatalogueOperation extends infer One ? (One extends unknown ? Omit<One, 'type'> : never) : never;

/** The catalogue's upkeep from outside of its private network: the register function does it when it is invoked. */
export class CatalogueDoor implements CatalogueUpkeep {
  readonly #client: LambdaClient;
  readonly #functionName: string;

  /** @param client without a time-out below that of the function, and without retries of its own */
  constructor(client: LambdaClient, functionName: string) {
    this.#client = client;
    this.#functionName = functionName;
  }

  async state(): Promise<CatalogueState> {
    return CatalogueState.parse(await this.#ask({ operation: 'state' }));
  }

  async remove(referenceId: string): Promise<number> {
    const { removed } = (await this.#ask({ operation: 'remove', referenceId })) as { removed: number };
    return removed;
  }

  async merge(): Promise<boolean> {
    const { begun } = (await this.#ask({ operation: 'merge' })) as { begun: boolean };
    return begun;
  }

  /** One step of making the index anew; see `reindexStep`. */
  async reindex(ask: boolean): Promise<ReindexProgress> {
    return ReindexProgress.parse(await this.#ask({ operation: 'reindex', ask }));
  }

  /** @throws RefrainError (CATALOGUE_OPERATION) with what the function threw */
  async #ask(asked: Asked): Promise<unknown> {
    const operation = { type: 'refrain.catalogue.v1', ...asked } satisfies CatalogueOperation;
    const { Payload, FunctionError } = await this.#client.send(
      new InvokeCommand({ FunctionName: this.#functionName, Payload: JSON.stringify(operation) }),
    );
    const text = Buffer.from(Payload ?? []).toString();
    if (!FunctionError) return JSON.parse(text);
    const { errorType = FunctionError, errorMessage = text.slice(0, 300) } = JSON.parse(text || '{}');
    throw new RefrainError(
      'CATALOGUE_OPERATION',
      `${this.#functionName} could not do "${asked.operation}": ${errorType}: ${errorMessage}`,
    );
  }
}
