import { CatalogueOperation } from '../core/catalogue-state.ts';
import { RefrainError } from '../core/errors.ts';
import { type CatalogueUpkeep, canRebuild } from '../ports/catalogue-upkeep.ts';
import { type ReindexDependencies, reindexStep } from './reindex.ts';

/** Whether somebody asks for an operation on the catalogue, where SQS would deliver messages. */
export const isOperation = (event: object): boolean => 'operation' in event;

/** Does what an operator asks for. What it resolves to goes back to them. */
export const createOperator =
  (deps: Omit<ReindexDependencies, 'upkeep'> & { upkeep: CatalogueUpkeep }) =>
  async (event: unknown): Promise<object> => {
    const asked = CatalogueOperation.parse(event);
    const { upkeep } = deps;
    switch (asked.operation) {
      case 'state':
        return upkeep.state();
      case 'remove':
        return { removed: await upkeep.remove(asked.referenceId) };
      case 'reindex':
        if (canRebuild(upkeep)) return reindexStep(asked.ask, { ...deps, upkeep });
        throw new RefrainError(
          'NOT_REBUILT',
          'this catalogue cannot be made anew in place: deploy another stage, register there, and move over to it',
        );
      case 'merge':
        return { begun: await upkeep.merge() };
    }
  };
