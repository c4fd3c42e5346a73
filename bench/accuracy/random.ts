/** A seeded source of chance: the same words give the same numbers, on every machine and in any order of use. */
export class Random {
  private state: Uint32Array;

  /** @param seed anything that names this use, e.g. `new Random('noise', 17)` */
  constructor(...seed: (string | number)[]) {
    // FNV-1a over the words, then a few rounds to spread it (sfc32 by Chris Doty-Humphrey, public domain).
    let hash = 0x811c9dc5;
    for (const byte of Buffer.from(JSON.stringify(seed))) hash = Math.imul(hash ^ byte, 0x01000193);
    this.state = Uint32Array.of(hash, hash ^ 0x9e3779b9, Math.imul(hash, 0x85ebca6b), 1);
    for (let i = 0; i < 15; i++) this.next();
  }

  /** Uniform in [0, 1). */
  next(): number {
    const s = this.state;
    const sum = (s[0]! + s[1]! + s[3]!) >>> 0;
    s[3] = s[3]! + 1;
    s[0] = s[1]! ^ (s[1]! >>> 9);
    s[1] = s[2]! + (s[2]! << 3);
    s[2] = ((s[2]! << 21) | (s[2]! >>> 11)) + sum;
    return sum / 2 ** 32;
  }

  between(low: number, high: number): number {
    return low + (high - low) * this.next();
  }

  /** An integer in [0, count). */
  below(count: number): number {
    return Math.floor(this.next() * count);
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }

  /** Picks `a` of two equally likely answers. */
  either<T>(a: T, b: T): T {
    return this.next() < 0.5 ? a : b;
  }

  /** Standard normal (Box-Muller). */
  normal(): number {
    return Math.sqrt(-2 * Math.log(1 - this.next())) * Math.cos(2 * Math.PI * this.next());
  }

  shuffled<T>(items: readonly T[]): T[] {
    const out = [...items];
    for (let i = out.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [out[i], out[j]] = [out[j]!, out[i]!];
    }
    return out;
  }
}
