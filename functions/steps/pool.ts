/**
 * Runs `work` on the items of a stream or list, at most `limit` at a time, and resolves when all are done.
 * The stream is only read as fast as work finishes. The first error ends the reading and is thrown once what is
 * already running has settled, so that nothing goes on behind the caller's back.
 */
export async function forEachConcurrently<T>(
  items: AsyncIterable<T> | Iterable<T>,
  limit: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const running = new Set<Promise<void>>();
  let failure: { cause: unknown } | undefined;
  try {
    for await (const item of items) {
      const task: Promise<void> = work(item)
        .catch((cause) => {
          failure ??= { cause };
        })
        .finally(() => running.delete(task));
      running.add(task);
      if (running.size >= limit) await Promise.race(running);
      if (failure) break;
    }
  } finally {
    await Promise.all(running);
  }
  if (failure) throw failure.cause;
}
