import type { SQSEvent } from 'aws-lambda';

/** What the event source mapping hands to a function: a batch with these bodies. */
export function delivery(...bodies: string[]): SQSEvent {
  const Records = bodies.map((body, i) => ({
    messageId: `m${i}`,
    receiptHandle: `r${i}`,
    body,
    attributes: {
      ApproximateReceiveCount: '1',
      SentTimestamp: '0',
      SenderId: 'test',
      ApproximateFirstReceiveTimestamp: '0',
    },
    messageAttributes: {},
    md5OfBody: '',
    eventSource: 'aws:sqs',
    eventSourceARN: 'arn:aws:sqs:local:0:requests',
    awsRegion: 'local',
  }));
  return { Records };
}
