/** Sends to one queue. Delivery is at least once: the receiver must live with doubles. */
export interface QueueSender {
  /** @param delaySeconds invisible for so long, 0..900 */
  send(body: string, options?: { delaySeconds?: number }): Promise<void>;
}
