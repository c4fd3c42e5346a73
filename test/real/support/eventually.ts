import { setTimeout as sleep } from 'node:timers/promises';

/** Asks again until there is an answer. @throws when there is none in time */
export async function eventually<T>(
  what: string,
  ask: () => Promise<T | undefined>,
  timeoutMs = 120_000,
): Promise<T> {
  for (const end = Date.now() + timeoutMs; Date.now() < end; await sleep(200)) {
    const answer = await ask();
    if (answer !== undefined) return answer;
  }
  throw new Error(`${what} did not happen within ${timeoutMs / 1000} s`);
}
