import {
  CreateQueueCommand,
  GetQueueAttributesCommand,
  SendMessageBatchCommand,
  SQSClient,
} from '@aws-sdk/client-sqs';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { SqsQueueUpkeep } from '../../functions/adapters/aws/queue-upkeep.ts';
import { startElasticMq } from './servers/elasticmq.ts';
import type { LocalServer } from './servers/local-server.ts';
import { receiveAll, unique } from './support/aws.ts';

// Of the two servers one moves dead letters by a task, as SQS does, and the other one refuses to.

describe('dead letters', () => {
  let elasticMq: LocalServer;
  beforeAll(async () => {
    elasticMq = await startElasticMq();
  }, 240_000);
  afterAll(() => elasticMq.dispose());

  it.each([
    ['by a task of the service', () => elasticMq.url],
    ['by hand, where the service refuses', () => inject('awsUrl')],
  ])('go back to their queue %s, every one of them and as often as there are new ones', async (_, url) => {
    const { sqs, queue, deadLetters, upkeep } = await queueAt(url());
    const first = Array.from({ length: 23 }, (_, i) => `first ${i}`);
    await sendAll(sqs, deadLetters, first);

    const before = await upkeep.counts();
    const moved = await upkeep.redrive();
    const again = await upkeep.redrive();
    await sendAll(sqs, deadLetters, ['second']);
    const second = await upkeep.redrive();

    expect(before).toEqual({ waiting: 0, inWork: 0, delayed: 0, dead: 23 });
    expect([moved, again, second]).toEqual([23, 0, 1]);
    expect(await upkeep.counts()).toEqual({ waiting: 24, inWork: 0, delayed: 0, dead: 0 });
    expect((await receiveAll({ sqs }, queue)).toSorted()).toEqual([...first, 'second'].toSorted());
  });
});

async function queueAt(endpoint: string) {
  const credentials = { accessKeyId: 'test', secretAccessKey: 'test' };
  const sqs = new SQSClient({ region: 'us-east-1', endpoint, credentials });
  const create = async (Attributes: Record<string, string> = {}) =>
    (await sqs.send(new CreateQueueCommand({ QueueName: unique('queue'), Attributes }))).QueueUrl!;
  const deadLetters = await create();
  const { Attributes } = await sqs.send(
    new GetQueueAttributesCommand({ QueueUrl: deadLetters, AttributeNames: ['QueueArn'] }),
  );
  const policy = { deadLetterTargetArn: Attributes!.QueueArn, maxReceiveCount: 3 };
  const queue = await create({ RedrivePolicy: JSON.stringify(policy) });
  return {
    sqs,
    queue,
    deadLetters,
    upkeep: new SqsQueueUpkeep(sqs, { url: queue, deadLettersUrl: deadLetters }),
  };
}

async function sendAll(sqs: SQSClient, QueueUrl: string, bodies: readonly string[]): Promise<void> {
  for (let start = 0; start < bodies.length; start += 10) {
    const Entries = bodies.slice(start, start + 10).map((MessageBody, i) => ({ Id: String(i), MessageBody }));
    await sqs.send(new SendMessageBatchCommand({ QueueUrl, Entries }));
  }
}
