import type { SQSBatchResponse, SQSEvent, SQSRecord } from 'aws-lambda';
import { parseRegisterRequest, parseReindexRequest } from '../core/requests.ts';
import type { CatalogueRebuild } from '../ports/catalogue-upkeep.ts';
import { handleBatch } from '../steps/batch.ts';
import type { RegisterDependencies, RegisterHooks } from './dependencies.ts';
import { reindexReference } from './reindex.ts';
import { withSidecar } from './sidecar.ts';
import { registerReference } from './walk.ts';

/**
 * The register function: each message of the `register-requests` queue is an S3 notification (metadata in a sidecar
 * `<key>.json`, if any), a `refrain.register.v1` request that carries its metadata along, or, where an index can be made
 * anew, a `refrain.reindex.v1` request.
 */
export const createRegisterHandler =
  (
    deps: RegisterDependencies & { upkeep?: CatalogueRebuild },
    { onRegistered, onFailure, ...run }: RegisterHooks = {},
  ) =>
  (event: SQSEvent): Promise<SQSBatchResponse> => {
    const { upkeep } = deps;
    const handle = async (record: SQSRecord) => {
      const reindex = upkeep && parseReindexRequest(record.body);
      if (reindex) {
        const reference = await reindexReference(reindex.referenceId, { ...deps, upkeep }, run);
        deps.log.info('reference heard again', { ...reindex, segments: reference?.segments });
        return;
      }
      for (const request of parseRegisterRequest(record.body)) {
        const described = await withSidecar(request, deps.objects);
        if (!described) continue;
        const registration = await registerReference(described, deps, run);
        onRegistered?.(registration);
        const { outcome, changed, reference } = registration;
        const { referenceId, state, reasons, segments } = reference;
        deps.log.info('reference registered', { referenceId, outcome, changed, state, reasons, segments });
      }
    };
    return handleBatch(event, deps.log, handle, onFailure);
  };
