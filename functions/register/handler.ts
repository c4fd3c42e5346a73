import type { SQSBatchResponse, SQSEvent } from 'aws-lambda';
import { parseRegisterRequest } from '../core/requests.ts';
import { handleBatch } from '../steps/batch.ts';
import type { RegisterDependencies, RegisterRun } from './dependencies.ts';
import { withSidecar } from './sidecar.ts';
import { registerReference } from './walk.ts';

/**
 * The register function: each message of the `register-requests` queue is an S3 notification (metadata in a sidecar
 * `<key>.json`, if any) or a `refrain.register.v1` request that carries its metadata along.
 */
export const createRegisterHandler =
  (deps: RegisterDependencies, run: RegisterRun = {}) =>
  (event: SQSEvent): Promise<SQSBatchResponse> =>
    handleBatch(event, deps.log, async (record) => {
      for (const request of parseRegisterRequest(record.body)) {
        const described = await withSidecar(request, deps.objects);
        if (!described) continue;
        const { referenceId, state, reasons, segments } = await registerReference(described, deps, run);
        deps.log.info('reference registered', { referenceId, state, reasons, segments });
      }
    });
