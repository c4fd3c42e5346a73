import { CatalogueOperation } from '../core/catalogue-state.ts';
import { type ReindexDependencies, reindexStep } from './reindex.ts';

/** Whether somebody asks for an operation on the catalogue, where SQS would deliver messages. */
export const isOperation = (event: object): boolean => 'operation' in event;

/** Does what an operator asks for. What it resolves to goes back to them. */
export const createOperator =
  (deps: ReindexDependencies) =>
  async (event: unknown): Promise<object> => {
    const asked = CatalogueOperation.parse(event);
    switch (asked.operation) {
      case 'state':
        return deps.upkeep.state();
      case 'remove':
        return { removed: await deps.upkeep.remove(asked.referenceId) };
      case 'reindex':
        return reindexStep(asked.ask, deps);
      case 'merge':
        return { begun: await deps.upkeep.merge() };
    }
  };
