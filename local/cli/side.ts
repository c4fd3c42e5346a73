import type { Deployment } from '../../functions/adapters/aws/deployment.ts';
import type { Catalogue } from '../../functions/ports/catalogue.ts';
import type { EventBus } from '../../functions/ports/events.ts';
import type { CaseStore, ReferenceStore, ScanStore } from '../../functions/ports/stores.ts';
import { openStore, type Store } from '../adapters/store.ts';
import type { Engine } from '../engine.ts';
import type { RuntimeOptions } from '../runtime.ts';
import { UsageError } from './errors.ts';
import type { Session } from './session.ts';

// Which side a verb works on: the store of this machine, or a deployment in AWS. Verbs know ports and not the side;
// what only one side has, they ask for by name.

/** What is remembered, wherever that is. */
export interface Records {
  references: ReferenceStore;
  scans: ScanStore;
  cases: CaseStore;
  events: EventBus;
  /** Those of every model that something was registered with. */
  catalogues(): Pick<Catalogue, 'remove'>[];
}

/** Opens the records for the time of `use`. */
export async function withRecords<T>(
  session: Session,
  mode: 'read' | 'write',
  use: (records: Records) => Promise<T>,
): Promise<T> {
  if (!session.stack) return withStore(session, mode, use);
  return withDeployment(session, ({ references, scans, cases, events, catalogue }) =>
    use({ references, scans, cases, events, catalogues: () => [catalogue] }),
  );
}

/**
 * Opens the store of this machine for the time of `use`.
 * @throws UsageError when the session is about a deployment
 */
export async function withStore<T>(
  { storeDir, stack }: Session,
  mode: 'read' | 'write',
  use: (store: Store) => Promise<T>,
): Promise<T> {
  if (stack) {
    throw new UsageError(
      'this verb works on the store of this machine alone; "refrain aws --help" says what there is for a deployment',
    );
  }
  await using store = await openStore(storeDir, { mode });
  return await use(store);
}

/** @throws UsageError without --stack */
export async function withDeployment<T>(
  { stack }: Session,
  use: (deployment: Deployment) => Promise<T>,
): Promise<T> {
  if (!stack)
    throw new UsageError('say which deployment: --stack NAME (or REFRAIN_STACK), such as refrain-prod');
  // The SDK takes longer to load than a local verb to run.
  const { openDeployment } = await import('../../functions/adapters/aws/deployment.ts');
  return use(await openDeployment(stack));
}

export interface EngineOptions extends Pick<RuntimeOptions, 'modelDir' | 'onProgress'> {
  /** How long to wait for an answer of a deployment. */
  waitMinutes: number;
}

/** What registers and scans. Either side is loaded only when it is needed: each takes its time. */
export async function openEngine(
  session: Session,
  { waitMinutes, ...options }: EngineOptions,
): Promise<Engine> {
  const { storeDir, stack, signal } = session;
  if (!stack) {
    const { Runtime } = await import('../runtime.ts');
    return Runtime.open({ storeDir, signal, ...options });
  }
  return withDeployment(session, async (deployment) => {
    const { RemoteRuntime } = await import('../remote.ts');
    return new RemoteRuntime(deployment, { waitMs: waitMinutes * 60_000, signal });
  });
}

/** Where the records are, in words. */
export const placeOf = ({ storeDir, stack }: Session): string => stack?.stack ?? storeDir;
