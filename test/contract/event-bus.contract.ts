import { describe, expect, it } from 'vitest';
import type { CloudEvent, EventBus } from '../../functions/ports/events.ts';
import { minute } from './fixtures.ts';

/** A bus and what hangs on it. */
export interface EventBusHarness {
  bus: EventBus;
  /** The events that arrived, once there are at least `count`. */
  received(count: number): Promise<CloudEvent[]>;
}

/** What every event bus must do. @param makeHarness called once per test */
export function describeEventBusContract(name: string, makeHarness: () => Promise<EventBusHarness>): void {
  describe(`${name} as an event bus`, () => {
    const anEvent = (id: string, data: unknown = { n: 1 }): CloudEvent => ({
      specversion: '1.0',
      id,
      source: '/refrain/scans',
      type: 'refrain.scan.finished.v1',
      subject: 'scan/1',
      time: minute(0),
      datacontenttype: 'application/json',
      data,
    });

    it('passes an event on as it was published', async () => {
      const { bus, received } = await makeHarness();
      const event = anEvent('event-1', {
        text: 'quotes " and \\, line\nbreak, 音楽 🎧',
        nested: [{ ok: true }],
        none: null,
      });

      await bus.publish(event);

      expect(await received(1)).toEqual([event]);
    });

    it('passes every one of many events on', async () => {
      const { bus, received } = await makeHarness();
      const ids = Array.from({ length: 30 }, (_, i) => `event-${i}`);

      await Promise.all(ids.map((id) => bus.publish(anEvent(id))));

      const events = await received(ids.length);
      expect(new Set(events.map((event) => event.id))).toEqual(new Set(ids));
    });

    it('takes an event that is published again: at least once is the promise', async () => {
      const { bus, received } = await makeHarness();

      await bus.publish(anEvent('event-1'));
      await bus.publish(anEvent('event-1'));

      const events = await received(1);
      expect(new Set(events.map((event) => event.id))).toEqual(new Set(['event-1']));
    });

    it('passes a large event on', async () => {
      const { bus, received } = await makeHarness();
      const event = anEvent('event-1', { text: 'x'.repeat(150_000) });

      await bus.publish(event);

      expect(await received(1)).toEqual([event]);
    });
  });
}
