/** CloudEvents 1.0, JSON format. */
export interface CloudEvent<T = unknown> {
  specversion: '1.0';
  id: string;
  source: string;
  type: string;
  subject?: string;
  time: string;
  datacontenttype: 'application/json';
  data: T;
}

/** Tells the platform what happened. At least once. */
export interface EventBus {
  publish(event: CloudEvent): Promise<void>;
}
