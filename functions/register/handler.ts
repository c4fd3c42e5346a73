import type { SQSBatchResponse, SQSEvent, SQSRecord } from 'aws-lambda';
import { isMergeRequest, parseRegisterRequest, parseReindexRequest } from '../core/requests.ts';
import { type CatalogueUpkeep, canRebuild } from '../ports/catalogue-upkeep.ts';
import { handleBatch } from '../steps/batch.ts';
import type { RegisterDependencies, RegisterHooks } from './dependencies.ts';
import { reindexReference } from './reindex.ts';
import { withSidecar } from './sidecar.ts';
import { registerReference } from './walk.ts';

/**
 * The register function: each message of the `register-requests` queue is an S3 notification (metadata in a sidecar
 * `<key>.json`, if any), a `refrain.register.v1` request that carries its metadata along, or, where there is an index to
 * look after, a `refrain.reindex.v1` or `refrain.merge.v1` request.
 */
export const createRegisterHandler =
  (
    deps: RegisterDependencies & { upkeep?: CatalogueUpkeep },
    { onRegistered, onFailure, onMerge, ...run }: RegisterHooks = {},
  ) =>
  (event: SQSEvent): Promise<SQSBatchResponse> => {
    const { upkeep } = deps;
    const handle = async (record: SQSRecord) => {
      const reindex = parseReindexRequest(record.body);
      if (reindex && upkeep && canRebuild(upkeep)) {
        const reference = await reindexReference(reindex.referenceId, { ...deps, upkeep }, run);
        deps.log.info('reference heard again', { ...reindex, segments: reference?.segments });
        return;
      }
      if (upkeep && isMergeRequest(record.body)) {
        const { live } = await upkeep.state();
        if (live) onMerge?.(live);
        deps.log.info('merge asked for', { ...live, begun: await upkeep.merge() });
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
