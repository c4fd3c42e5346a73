import { describe, expect, it } from 'vitest';
import type { QueueSender } from '../../functions/ports/queue.ts';

/** An empty queue and its other end. */
export interface QueueHarness {
  queue: QueueSender;
  /** Takes all messages that are visible now and deletes them; resolves to their bodies. */
  drain(): Promise<string[]>;
}

/** What every queue must do for those who send. @param makeHarness called once per test */
export function describeQueueContract(name: string, makeHarness: () => Promise<QueueHarness>): void {
  describe(`${name} as a queue`, () => {
    const waitFor = async ({ drain }: QueueHarness, count: number, patienceMs = 10_000) => {
      const bodies: string[] = [];
      for (const end = Date.now() + patienceMs; bodies.length < count && Date.now() < end; ) {
        bodies.push(...(await drain()));
      }
      return bodies;
    };

    it('is empty at first', async () => {
      const { drain } = await makeHarness();

      expect(await drain()).toEqual([]);
    });

    it('delivers a body as it was sent', async () => {
      const harness = await makeHarness();
      const body = JSON.stringify({ text: 'quotes " and \\, line\nbreak\t, 音楽 🎧', n: 1.5 });

      await harness.queue.send(body);

      expect(await waitFor(harness, 1)).toEqual([body]);
      expect(await harness.drain()).toEqual([]);
    });

    it('delivers every one of many messages, equal ones too', async () => {
      const harness = await makeHarness();
      const bodies = Array.from({ length: 35 }, (_, i) => `message ${i % 30}`);

      await Promise.all(bodies.map((body) => harness.queue.send(body)));

      const delivered = await waitFor(harness, bodies.length);
      expect(delivered.sort()).toEqual(bodies.sort());
    });

    it('delivers a large message', async () => {
      const harness = await makeHarness();
      const body = 'ä'.repeat(100_000);

      await harness.queue.send(body);

      expect(await waitFor(harness, 1)).toEqual([body]);
    });

    it('delivers a delayed message only when its time has come', async () => {
      const harness = await makeHarness();
      const sent = Date.now();
      await harness.queue.send('later', { delaySeconds: 1 });
      await harness.queue.send('now', { delaySeconds: 0 });

      const [first] = await waitFor(harness, 1);
      const second = await waitFor(harness, 1);

      expect(first).toBe('now');
      expect(second).toEqual(['later']);
      // Clocks of two machines, and a delay that is counted in whole seconds.
      expect(Date.now() - sent).toBeGreaterThan(800);
    });

    it('refuses an empty message', async () => {
      const { queue } = await makeHarness();

      await expect(queue.send('')).rejects.toThrow();
    });
  });
}
