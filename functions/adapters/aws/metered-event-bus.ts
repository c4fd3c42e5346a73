import { type Metrics, MetricUnit } from '@aws-lambda-powertools/metrics';
import { METRICS } from '../../constants.ts';
import type { ScanRecord } from '../../core/scan.ts';
import type { CloudEvent, EventBus } from '../../ports/events.ts';

const { names } = METRICS;
const NAME_OF_VERDICT = {
  clear: names.clear,
  flagged: names.flagged,
  rejected: names.rejected,
  incomplete: names.incompleteScans,
} as const;

/** Counts finished scans where they are made known, for dashboards and alarms. */
export class MeteredEventBus implements EventBus {
  readonly #bus: EventBus;
  readonly #metrics: Metrics;

  constructor(bus: EventBus, metrics: Metrics) {
    this.#bus = bus;
    this.#metrics = metrics;
  }

  async publish(event: CloudEvent): Promise<void> {
    await this.#bus.publish(event);
    if (event.type !== 'refrain.scan.finished.v1') return;
    const { verdict, searchedMs = 0 } = event.data as Pick<ScanRecord, 'verdict' | 'searchedMs'>;
    if (verdict) this.#metrics.addMetric(NAME_OF_VERDICT[verdict], MetricUnit.Count, 1);
    this.#metrics.addMetric(names.searchedMs, MetricUnit.Milliseconds, searchedMs);
  }
}
