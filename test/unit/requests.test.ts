import { describe, expect, it } from 'vitest';
import {
  MalformedRequestError,
  objectCreated,
  parseRegisterRequest,
  parseScanRequest,
} from '../../functions/core/requests.ts';

const AWKWARD_KEYS = [
  'plain.mp3',
  'with space + plus.mp3',
  'quote " and \' .ogg',
  'line\nbreak.wav',
  'emoji 🎸.flac',
  '../../etc/passwd',
  '100%.mp3',
];

describe('scan requests', () => {
  it.each(AWKWARD_KEYS)('keep the key %j through the notification', (key) => {
    const object = { bucket: 'uploads', key, versionId: 'v1', etag: 'abc', size: 3 };
    expect(parseScanRequest(objectCreated(object))).toEqual([object]);
  });

  it('reads the shape that S3 sends, with form-encoded keys', () => {
    const body = JSON.stringify({
      Records: [
        {
          eventVersion: '2.1',
          eventSource: 'aws:s3',
          awsRegion: 'eu-west-1',
          eventTime: '2026-01-01T00:00:00.000Z',
          eventName: 'ObjectCreated:CompleteMultipartUpload',
          s3: {
            s3SchemaVersion: '1.0',
            bucket: { name: 'uploads', arn: 'arn:aws:s3:::uploads' },
            object: { key: 'a+b%2Bc.mp3', size: 12, eTag: 'e', versionId: 'v', sequencer: '0A' },
          },
        },
      ],
    });
    expect(parseScanRequest(body)).toEqual([
      { bucket: 'uploads', key: 'a b+c.mp3', size: 12, etag: 'e', versionId: 'v' },
    ]);
  });

  it('ask for nothing when S3 only says hello', () => {
    expect(parseScanRequest(JSON.stringify({ Service: 'Amazon S3', Event: 's3:TestEvent' }))).toEqual([]);
  });

  it('ask for nothing when an object was removed', () => {
    const removed = objectCreated({ bucket: 'b', key: 'k' }).replace(
      'ObjectCreated:Put',
      'ObjectRemoved:Delete',
    );
    expect(parseScanRequest(removed)).toEqual([]);
  });

  it.each([
    '',
    '{',
    'null',
    '[]',
    '{"Records":[{}]}',
    '{"Records":1}',
    '42',
    objectCreated({ bucket: 'b', key: '%' }).replace('%25', '%E0%A4%A'),
  ])('refuse the malformed body %j', (body) => {
    expect(() => parseScanRequest(body)).toThrow(MalformedRequestError);
  });
});

describe('register requests', () => {
  it('carry metadata, with the ISRC normalised', () => {
    const body = JSON.stringify({
      type: 'refrain.register.v1',
      object: { bucket: 'references', key: 'a.flac' },
      referenceId: 'my-1',
      metadata: { title: 'A', isrc: 'gb-aye-68-00123' },
    });
    expect(parseRegisterRequest(body)).toEqual([
      expect.objectContaining({ referenceId: 'my-1', metadata: { title: 'A', isrc: 'GBAYE6800123' } }),
    ]);
  });

  it('say what is wrong and where', () => {
    const body = JSON.stringify({
      type: 'refrain.register.v1',
      object: { bucket: 'r', key: 'a' },
      metadata: { isrc: 'nope' },
    });
    expect(() => parseRegisterRequest(body)).toThrow(/ISRC looks like.*\n.*metadata\.isrc/s);
  });

  it('may be plain S3 notifications', () => {
    expect(parseRegisterRequest(objectCreated({ bucket: 'r', key: 'a b' }))).toEqual([
      { object: { bucket: 'r', key: 'a b' }, metadata: {} },
    ]);
  });
});
