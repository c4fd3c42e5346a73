import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { openStore } from '../../local/adapters/store.ts';
import { temporaryFolder, temporaryStore } from './temporary.ts';

/** A queue whose clock stands still until it is moved. */
async function aQueue(options: { maxReceives?: number } = {}) {
  const store = await temporaryStore();
  const clock = { now: 1_767_225_600_000 };
  const at = { ...options, now: () => clock.now };
  const pass = (seconds: number) => {
    clock.now += seconds * 1000;
  };
  return { queue: store.queue('requests', at), deadLetters: store.queue('requests-dlq', at), clock, pass };
}

const bodies = (records: { body: string }[]) => records.map((record) => record.body);

describe('LocalQueue as what a worker receives from', () => {
  it('gives records that look like those of SQS', async () => {
    const { queue, clock } = await aQueue();
    await queue.send('{"hello":"wörld"}');

    const [record] = await queue.receive();

    expect(record).toEqual({
      messageId: expect.stringMatching(/^[0-9a-f-]{36}$/),
      receiptHandle: expect.any(String),
      body: '{"hello":"wörld"}',
      attributes: {
        ApproximateReceiveCount: '1',
        SentTimestamp: String(clock.now),
        SenderId: 'local',
        ApproximateFirstReceiveTimestamp: String(clock.now),
      },
      messageAttributes: {},
      md5OfBody: createHash('md5').update('{"hello":"wörld"}').digest('hex'),
      eventSource: 'aws:sqs',
      eventSourceARN: 'arn:aws:sqs:local:000000000000:requests',
      awsRegion: 'local',
    });
  });

  it('gives the oldest first, ten at most', async () => {
    const { queue } = await aQueue();
    for (let i = 0; i < 12; i++) await queue.send(`message ${i}`);

    expect(bodies(await queue.receive({ max: 3 }))).toEqual(['message 0', 'message 1', 'message 2']);
    expect(await queue.receive({ max: 100 })).toHaveLength(9);
  });

  it('hides a received message until its time runs out, then gives it again', async () => {
    const { queue, pass } = await aQueue();
    await queue.send('work');
    const [first] = await queue.receive({ visibilitySeconds: 60 });

    pass(59);
    expect(await queue.receive()).toEqual([]);
    pass(1);
    const [second] = await queue.receive();

    expect(second).toMatchObject({
      messageId: first!.messageId,
      attributes: { ApproximateReceiveCount: '2' },
    });
    expect(second!.attributes.ApproximateFirstReceiveTimestamp).toBe(
      first!.attributes.ApproximateFirstReceiveTimestamp,
    );
    expect(second!.receiptHandle).not.toBe(first!.receiptHandle);
  });

  it('forgets a deleted message', async () => {
    const { queue, pass } = await aQueue();
    await queue.send('work');
    const [record] = await queue.receive();

    expect(await queue.delete(record!.receiptHandle)).toBe(true);

    pass(3600);
    expect(await queue.receive()).toEqual([]);
    expect(await queue.delete(record!.receiptHandle)).toBe(false);
  });

  it('does not let a worker that was too slow delete what another one has by now', async () => {
    const { queue, pass } = await aQueue();
    await queue.send('work');
    const [slow] = await queue.receive({ visibilitySeconds: 1 });
    pass(2);
    const [quick] = await queue.receive();

    expect(await queue.delete(slow!.receiptHandle)).toBe(false);
    expect(await queue.changeVisibility(slow!.receiptHandle, 0)).toBe(false);

    expect(await queue.receive()).toEqual([]);
    expect(await queue.delete(quick!.receiptHandle)).toBe(true);
  });

  it('gives a message back at once, or later, when it is told so', async () => {
    const { queue, pass } = await aQueue();
    await queue.send('work');

    const [first] = await queue.receive({ visibilitySeconds: 3600 });
    await queue.changeVisibility(first!.receiptHandle, 0);
    const [second] = await queue.receive({ visibilitySeconds: 1 });
    await queue.changeVisibility(second!.receiptHandle, 600);

    pass(599);
    expect(await queue.receive()).toEqual([]);
    pass(1);
    expect(bodies(await queue.receive())).toEqual(['work']);
  });

  it('moves a message to the dead letters when it came back once too often', async () => {
    const { queue, deadLetters, pass } = await aQueue({ maxReceives: 3 });
    await queue.send('poison');
    await queue.send('fine');
    for (let i = 0; i < 3; i++) {
      for (const { body, receiptHandle } of await queue.receive({ visibilitySeconds: 10 })) {
        if (body === 'fine') await queue.delete(receiptHandle);
      }
      pass(10);
    }

    expect(await queue.receive()).toEqual([]);

    expect(await queue.stats()).toEqual({ visible: 0, inFlight: 0, delayed: 0, dead: 1 });
    for (let i = 0; i < 10; i++) {
      expect(bodies(await deadLetters.receive({ visibilitySeconds: 10 }))).toEqual(['poison']);
      pass(10);
    }
  });

  it('counts as dead what is due for it, before anybody asks for messages', async () => {
    const { queue, pass } = await aQueue({ maxReceives: 1 });
    await queue.send('poison');
    await queue.receive({ visibilitySeconds: 10 });
    pass(10);

    expect(await queue.stats()).toEqual({ visible: 0, inFlight: 0, delayed: 0, dead: 1 });
  });

  it('sends dead letters back, with a fresh count', async () => {
    const { queue, pass } = await aQueue({ maxReceives: 1 });
    for (const body of ['a', 'b']) await queue.send(body);
    await queue.receive({ visibilitySeconds: 1 });
    pass(1);
    expect(await queue.receive()).toEqual([]);

    expect(await queue.redrive(1)).toBe(1);
    expect(await queue.redrive()).toBe(1);

    const records = await queue.receive();
    expect(bodies(records)).toEqual(['a', 'b']);
    expect(records[0]!.attributes.ApproximateReceiveCount).toBe('1');
    expect(await queue.redrive()).toBe(0);
  });

  it('tells visible, received and delayed messages apart', async () => {
    const { queue, pass } = await aQueue();
    await queue.send('received');
    await queue.receive({ visibilitySeconds: 60 });
    await queue.send('visible');
    await queue.send('delayed', { delaySeconds: 60 });

    expect(await queue.stats()).toEqual({ visible: 1, inFlight: 1, delayed: 1, dead: 0 });
    pass(60);
    expect(await queue.stats()).toEqual({ visible: 3, inFlight: 0, delayed: 0, dead: 0 });
  });

  it('keeps queues apart', async () => {
    const store = await temporaryStore();
    await store.queue('a').send('for a');
    await store.queue('b').send('for b');

    const [forA] = await store.queue('a').receive();

    expect(forA!.body).toBe('for a');
    expect(await store.queue('b').delete(forA!.receiptHandle)).toBe(false);
  });

  it('waits for a message, and ends the wait when it comes', async () => {
    const queue = (await temporaryStore()).queue('requests');
    const waiting = queue.receive({ waitSeconds: 20 });

    setTimeout(() => queue.send('work'), 100);

    expect(bodies(await waiting)).toEqual(['work']);
  });

  it('ends the wait when the time is up, or when it is told to', async () => {
    const queue = (await temporaryStore()).queue('requests');

    expect(await queue.receive({ waitSeconds: 0.1 })).toEqual([]);
    const stopped = queue.receive({ waitSeconds: 20, signal: AbortSignal.timeout(50) });
    await expect(stopped).rejects.toThrow();
  });

  it('gives what was received and not deleted at once to the next writer, and counts the try', async () => {
    const folder = temporaryFolder();
    const before = await openStore(folder, { mode: 'write' });
    await before.queue('requests').send('work');
    await before.queue('requests').send('later', { delaySeconds: 900 });
    await before.queue('requests').receive({ visibilitySeconds: 3600 });
    await before.close();

    const after = await temporaryStore(folder);

    const records = await after.queue('requests').receive();
    expect(bodies(records)).toEqual(['work']);
    expect(records[0]!.attributes.ApproximateReceiveCount).toBe('2');
  });
});
