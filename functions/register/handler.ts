import type { SQSBatchResponse, SQSEvent, SQSRecord } from 'aws-lambda';
import { parseRegisterRequest } from '../core/requests.ts';
import { handleBatch } from '../steps/batch.ts';
import type { RegisterDependencies, RegisterHooks } from './dependencies.ts';
import { withSidecar } from './sidecar.ts';
import { registerReference } from './walk.ts';

/**
 * The register function: each message of the `register-requests` queue is an S3 notification (metadata in a sidecar
 * `<key>.json`, if any) or a `refrain.register.v1` request that carries its metadata along.
 */
export const createRegisterHandler =
  (deps: RegisterDependencies, { onRegistered, onFailure, ...run }: RegisterHooks = {}) =>
  (event: SQSEvent): Promise<SQSBatchResponse> => {
    const handle = async (record: SQSRecord) => {
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
