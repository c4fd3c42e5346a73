import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { ObjectNotFoundError } from '../core/errors.ts';
import { MalformedRequestError, RegisterRequest } from '../core/requests.ts';
import type { ObjectVersion } from '../core/scan.ts';
import type { ObjectStore } from '../ports/object-store.ts';

const SIDECAR = '.json';

/** Whether an object describes a recording rather than being one. */
export const isSidecar = (key: string): boolean => key.endsWith(SIDECAR);

/** What `<key>.json` beside a reference may say. */
const Sidecar = RegisterRequest.shape.metadata.unwrap().extend({ id: RegisterRequest.shape.referenceId });

/**
 * Adds what the sidecar beside a dropped file says. A sidecar is itself an object of the bucket, and its own
 * notification arrives here too: it stands for the file that it describes. `undefined` says that this file is not
 * there (yet), so that there is nothing to register.
 * @throws MalformedRequestError when the sidecar is not valid
 */
export async function withSidecar(
  request: Omit<RegisterRequest, 'type'>,
  objects: ObjectStore,
): Promise<Omit<RegisterRequest, 'type'> | undefined> {
  const { bucket, key } = request.object;
  if (isSidecar(key)) {
    const object = { bucket, key: key.slice(0, -SIDECAR.length) };
    if (isSidecar(object.key) || !(await exists(object, objects))) return undefined;
    return withSidecar({ object, metadata: {} }, objects);
  }
  if (request.referenceId || Object.keys(request.metadata).length > 0) return request;

  const text = await unlessGone(
    objects.withFile({ bucket, key: key + SIDECAR }, (path) => readFile(path, 'utf8')),
  );
  if (text === undefined) return request;

  const { id, ...metadata } = parseSidecar(text, key);
  return { object: request.object, metadata, ...(id && { referenceId: id }) };
}

const exists = async (object: ObjectVersion, objects: ObjectStore): Promise<boolean> =>
  (await unlessGone(objects.describe(object))) !== undefined;

const unlessGone = <T>(work: Promise<T>): Promise<T | undefined> =>
  work.catch((error) => {
    if (error instanceof ObjectNotFoundError) return undefined;
    throw error;
  });

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
