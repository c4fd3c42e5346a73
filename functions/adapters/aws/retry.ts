import { setTimeout as sleep } from 'node:timers/promises';

/** How long to go on trying. The whole budget must stay well below the time-out of the Lambda that tries. */
export interface RetryPolicy {
  /** No new attempt starts after this much time, ms. */
  budgetMs: number;
  /** Upper bound of the first pause, ms; it doubles with every attempt. */
  baseMs: number;
  /** Upper bound of any pause, ms. */
  capMs: number;
}

/** Outlasts a minute of throttling, after which the queue takes over. */
export const PATIENT: RetryPolicy = { budgetMs: 90_000, baseMs: 200, capMs: 10_000 };

/**
 * Calls `work` until it succeeds, throws something that is not transient, or the budget is spent.
 *
 * Pauses are drawn from the whole of `[0, bound)` (full jitter): a burst of callers that was refused together does
 * not come back together.
 *
 * @throws the last error
 */
export async function withRetries<T>(
  work: () => Promise<T>,
  isTransient: (error: unknown) => boolean,
  { budgetMs, baseMs, capMs }: RetryPolicy = PATIENT,
): Promise<T> {
  const deadline = performance.now() + budgetMs;
  for (let attempt = 0; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      const pauseMs = Math.random() * Math.min(capMs, baseMs * 2 ** attempt);
      if (!isTransient(error) || performance.now() + pauseMs > deadline) throw error;
      await sleep(pauseMs);
    }
  }
}

const NETWORK = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EAI_AGAIN',
  'EPIPE',
  'ERR_STREAM_PREMATURE_CLOSE',
  'ETIMEDOUT',
  'TimeoutError',
]);

/** No answer at all, or not the whole of it. */
export const isNetworkError = (error: unknown): boolean =>
  error instanceof Error && (NETWORK.has(error.name) || ('code' in error && NETWORK.has(String(error.code))));
