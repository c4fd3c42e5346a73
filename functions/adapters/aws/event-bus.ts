import { type EventBridgeClient, PutEventsCommand } from '@aws-sdk/client-eventbridge';
import { RefrainError } from '../../core/errors.ts';
import type { CloudEvent, EventBus } from '../../ports/events.ts';
import { type RetryPolicy, withRetries } from './retry.ts';

/** EventBridge took the call but not the event. */
class EventRefusedError extends RefrainError {}

const TRANSIENT = new Set(['ThrottlingException', 'InternalFailure', 'InternalException']);
const PATIENCE: RetryPolicy = { budgetMs: 20_000, baseMs: 100, capMs: 5000 };

/** Publishes to one EventBridge bus: rules match on the event's `type` (detail type) and on `detail.data`. */
export class EventBridgeBus implements EventBus {
  readonly #client: EventBridgeClient;
  readonly #busName: string;

  constructor(client: EventBridgeClient, busName: string) {
    this.#client = client;
    this.#busName = busName;
  }

  /** @throws RefrainError (EVENT_REFUSED) when EventBridge does not take the event */
  async publish(event: CloudEvent): Promise<void> {
    const entry = {
      EventBusName: this.#busName,
      Source: event.source,
      DetailType: event.type,
      Time: new Date(event.time),
      Detail: JSON.stringify(event),
    };
    await withRetries(
      async () => {
        // PutEvents answers 200 for events that it refused: the count tells.
        const { FailedEntryCount, Entries } = await this.#client.send(
          new PutEventsCommand({ Entries: [entry] }),
        );
        if (!FailedEntryCount) return;
        const { ErrorCode = 'unknown', ErrorMessage = '' } = Entries?.[0] ?? {};
        throw new EventRefusedError(
          'EVENT_REFUSED',
          `the bus ${this.#busName} refused ${event.type} ${event.id}: ${ErrorCode} ${ErrorMessage}`,
          { cause: ErrorCode },
        );
      },
      (error) => error instanceof EventRefusedError && TRANSIENT.has(String(error.cause)),
      PATIENCE,
    );
  }
}
