/**
 * Tells when files stop changing. A file is looked at when it is told of, and again after the settle time: when
 * nothing changed in between it is complete, otherwise the time begins anew.
 *
 * The clock of the file system is not asked how old a file is: copying programs set it as they like.
 */
export class Settling {
  readonly #settleMs: number;
  readonly #lookAt: (path: string) => Promise<string | undefined>;
  readonly #onSettled: (path: string) => void;
  readonly #timers = new Map<string, NodeJS.Timeout>();

  /**
   * @param lookAt what a file looks like now, such as its size and modification time; `undefined` when it is gone
   * @param onSettled called once for every time that a file settles
   */
  constructor(
    settleMs: number,
    lookAt: (path: string) => Promise<string | undefined>,
    onSettled: (path: string) => void,
  ) {
    this.#settleMs = settleMs;
    this.#lookAt = lookAt;
    this.#onSettled = onSettled;
  }

  /** The file is new or has changed: its time begins (anew). */
  touch(path: string): void {
    const before = this.#lookAt(path);
    clearTimeout(this.#timers.get(path));
    const timer = setTimeout(async () => {
      const [then, now] = await Promise.all([before, this.#lookAt(path)]);
      // Touched again, or forgotten, while we were looking.
      if (this.#timers.get(path) !== timer) return;
      if (now !== undefined && now !== then) return this.touch(path);
      this.#timers.delete(path);
      if (now !== undefined) this.#onSettled(path);
    }, this.#settleMs);
    this.#timers.set(path, timer);
  }

  /** The file is gone, or nobody waits any more. */
  forget(path: string): void {
    clearTimeout(this.#timers.get(path));
    this.#timers.delete(path);
  }

  close(): void {
    for (const path of [...this.#timers.keys()]) this.forget(path);
  }
}
