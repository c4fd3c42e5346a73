import { z } from 'zod';
import { RefrainError } from './errors.ts';
import { ReferenceMetadata } from './reference.ts';
import { ObjectVersion } from './scan.ts';

/** The body is not a request that Refrain knows. It will not get better: let the queue's dead letters keep it. */
export class MalformedRequestError extends RefrainError {
  constructor(why: string, options?: ErrorOptions) {
    super('MALFORMED_REQUEST', `the message is not an S3 notification or a Refrain request: ${why}`, options);
  }
}

/** S3's notification, as far as it is used. Keys arrive form-encoded: a space is a plus. */
const S3Notification = z.object({
  Records: z.array(
    z.object({
      eventName: z.string(),
      s3: z.object({
        bucket: z.object({ name: z.string().min(1) }),
        object: z.object({
          key: z.string().min(1),
          size: z.int().nonnegative().optional(),
          eTag: z.string().optional(),
          versionId: z.string().optional(),
        }),
      }),
    }),
  ),
});

/** S3 says hello with this one when a notification is set up. */
const S3TestEvent = z.object({ Event: z.literal('s3:TestEvent') });

/** Registers one object with what is known of it; for callers who do more than drop files into a bucket. */
export const RegisterRequest = z.object({
  type: z.literal('refrain.register.v1'),
  object: ObjectVersion,
  referenceId: z
    .string()
    .min(1)
    .max(200)
    .regex(/^[^\p{Cc}]+$/u, 'control characters are not allowed in an id')
    .optional(),
  metadata: ReferenceMetadata.default({}),
});
export type RegisterRequest = z.infer<typeof RegisterRequest>;

/** Hears a registered reference again, for the index that is being made. */
export const ReindexRequest = z.object({
  type: z.literal('refrain.reindex.v1'),
  referenceId: z.string().min(1),
});
export type ReindexRequest = z.infer<typeof ReindexRequest>;

/** Merges the graphs of the catalogue's index; a schedule sends it every night. */
export const MergeRequest = z.object({ type: z.literal('refrain.merge.v1') });
export type MergeRequest = z.infer<typeof MergeRequest>;

/** The uploads that a message in the scan queue asks to scan; none for a test event or a deletion. */
export function parseScanRequest(body: string): ObjectVersion[] {
  return createdObjects(parseJson(body));
}

/** The references that a message in the register queue asks to register. */
export function parseRegisterRequest(body: string): Omit<RegisterRequest, 'type'>[] {
  const json = parseJson(body);
  if (typeof json === 'object' && json !== null && 'type' in json) {
    const request = RegisterRequest.safeParse(json);
    if (!request.success) throw new MalformedRequestError(z.prettifyError(request.error));
    return [request.data];
  }
  return createdObjects(json).map((object) => ({ object, metadata: {} }));
}

/** What a message in the register queue asks to hear again, if that is what it asks for. */
export function parseReindexRequest(body: string): ReindexRequest | undefined {
  const request = ReindexRequest.safeParse(parseJson(body));
  return request.success ? request.data : undefined;
}

/** Whether a message in the register queue asks to merge the index. */
export const isMergeRequest = (body: string): boolean => MergeRequest.safeParse(parseJson(body)).success;

/** The notification that S3 would send for this object. */
export function objectCreated(object: ObjectVersion): string {
  const { bucket, key, versionId, etag, size } = object;
  const record = {
    eventVersion: '2.1',
    eventSource: 'aws:s3',
    eventName: 'ObjectCreated:Put',
    s3: {
      bucket: { name: bucket },
      object: { key: encodeURIComponent(key).replaceAll('%20', '+'), versionId, eTag: etag, size },
    },
  };
  return JSON.stringify({ Records: [record] } satisfies z.input<typeof S3Notification>);
}

function createdObjects(json: unknown): ObjectVersion[] {
  if (S3TestEvent.safeParse(json).success) return [];
  const notification = S3Notification.safeParse(json);
  if (!notification.success) throw new MalformedRequestError(z.prettifyError(notification.error));
  return notification.data.Records.filter(({ eventName }) => eventName.startsWith('ObjectCreated:')).map(
    ({ s3: { bucket, object } }) => ({
      bucket: bucket.name,
      key: decodeKey(object.key),
      ...(object.versionId !== undefined && { versionId: object.versionId }),
      ...(object.eTag !== undefined && { etag: object.eTag }),
      ...(object.size !== undefined && { size: object.size }),
    }),
  );
}

function decodeKey(key: string): string {
  try {
    return decodeURIComponent(key.replaceAll('+', ' '));
  } catch (cause) {
    throw new MalformedRequestError(`the key ${JSON.stringify(key)} is not form-encoded`, { cause });
  }
}

function parseJson(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch (cause) {
    throw new MalformedRequestError(`not JSON: ${(cause as Error).message}`, { cause });
  }
}
