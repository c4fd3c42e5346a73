import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { ObjectNotFoundError } from '../core/errors.ts';
import { MalformedRequestError, RegisterRequest } from '../core/requests.ts';
import type { ObjectStore } from '../ports/object-store.ts';

const SIDECAR = '.json';

/** What `<key>.json` beside a reference may say. */
const Sidecar = RegisterRequest.shape.metadata.unwrap().extend({ id: RegisterRequest.shape.referenceId });

/**
 * Adds what the sidecar beside a dropped file says. A sidecar is itself an object of the bucket, so its own
 * notification arrives here too: `undefined` says that there is nothing to register.
 * @throws MalformedRequestError when the sidecar is not valid
 */
export async function withSidecar(
  request: Omit<RegisterRequest, 'type'>,
  objects: ObjectStore,
): Promise<Omit<RegisterRequest, 'type'> | undefined> {
  const { bucket, key } = request.object;
  if (key.endsWith(SIDECAR)) return undefined;
  if (request.referenceId || Object.keys(request.metadata).length > 0) return request;

  const text = await objects
    .withFile({ bucket, key: key + SIDECAR }, (path) => readFile(path, 'utf8'))
    .catch((error) => {
      if (error instanceof ObjectNotFoundError) return undefined;
      throw error;
    });
  if (text === undefined) return request;

  const { id, ...metadata } = parseSidecar(text, key);
  return { object: request.object, metadata, ...(id && { referenceId: id }) };
}

function parseSidecar(text: string, key: string): z.infer<typeof Sidecar> {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new MalformedRequestError(`${key}${SIDECAR} is not JSON`, { cause });
  }
  const sidecar = Sidecar.safeParse(json);
  if (!sidecar.success) {
    throw new MalformedRequestError(`${key}${SIDECAR}: ${z.prettifyError(sidecar.error)}`);
  }
  return sidecar.data;
}
