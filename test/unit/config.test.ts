import { describe, expect, it } from 'vitest';
import { ConfigError, readEnvironment, ScanEnvironment } from '../../functions/config.ts';

const complete = {
  AWS_REGION: 'eu-west-1',
  REFRAIN_MODEL_DIR: '/var/task',
  REFRAIN_REFERENCES_TABLE: 'references',
  REFRAIN_SCANS_TABLE: 'scans',
  REFRAIN_CASES_TABLE: 'cases',
  REFRAIN_EVIDENCE_BUCKET: 'evidence',
  REFRAIN_EVENT_BUS: 'bus',
  REFRAIN_EMBED_FUNCTION: 'embed',
  REFRAIN_OPENSEARCH_ENDPOINT: 'https://search.example.com',
  REFRAIN_SCAN_REQUESTS_URL: 'https://sqs.example.com/1/scan-requests',
  REFRAIN_REVIEW_QUEUE_URL: 'https://sqs.example.com/1/review',
};

describe('readEnvironment', () => {
  it('fills in what may be left out', () => {
    const environment = readEnvironment(ScanEnvironment, complete);

    expect(environment).toMatchObject({
      REFRAIN_OPENSEARCH_AUTH: 'sigv4',
      REFRAIN_OPENSEARCH_ENGINE: 'faiss',
      REFRAIN_PATIENCE_SECONDS: 90,
    });
  });

  it('reads numbers', () => {
    const environment = readEnvironment(ScanEnvironment, {
      ...complete,
      REFRAIN_OPENSEARCH_SHARDS: '12',
      REFRAIN_SCAN_STRIDE: '3',
    });

    expect(environment).toMatchObject({ REFRAIN_OPENSEARCH_SHARDS: 12, REFRAIN_SCAN_STRIDE: 3 });
  });

  it('names every fault at once', () => {
    const { REFRAIN_SCANS_TABLE: _, AWS_REGION: __, ...rest } = complete;
    const reading = () =>
      readEnvironment(ScanEnvironment, {
        ...rest,
        REFRAIN_CASES_TABLE: '',
        REFRAIN_OPENSEARCH_ENDPOINT: 'nowhere',
        REFRAIN_OPENSEARCH_SHARDS: 'many',
      });

    expect(reading).toThrow(ConfigError);
    for (const fault of [
      'REFRAIN_SCANS_TABLE is not set',
      'AWS_REGION is not set',
      'REFRAIN_CASES_TABLE: ',
      'REFRAIN_OPENSEARCH_ENDPOINT: ',
      'REFRAIN_OPENSEARCH_SHARDS: ',
    ]) {
      expect(reading).toThrow(fault);
    }
  });
});
