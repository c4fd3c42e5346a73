import type { HitColumns } from '../segments.ts';

const measured = new WeakMap<HitColumns, Float32Array>();

/**
 * The cosine that chance reaches, per upload row: that of its last hit. Where even the last hit is a true one (loops,
 * many copies), what is usual in this upload stands in. A row without hits was not asked; its background lies between
 * those of the asked rows before and after it. Votes and features both want it: it is measured once for the same hits.
 */
export function backgroundOf(hits: HitColumns): Float32Array {
  let background = measured.get(hits);
  if (!background) {
    background = measure(hits);
    measured.set(hits, background);
  }
  return background;
}

function measure({ starts, similarity }: HitColumns): Float32Array {
  const rows = starts.length - 1;
  const asked = Array.from({ length: rows }, (_, row) => row).filter(
    (row) => starts[row + 1]! > starts[row]!,
  );
  const last = asked.map((row) => similarity[starts[row + 1]! - 1]!);
  const usual = last.toSorted((a, b) => a - b)[Math.floor(last.length / 4)] ?? 0;

  const background = new Float32Array(rows);
  let next = 0;
  for (let row = 0; row < rows && asked.length > 0; row++) {
    while (next < asked.length - 1 && asked[next]! < row) next++;
    const previous = asked[next]! > row ? Math.max(0, next - 1) : next;
    const gap = asked[next]! - asked[previous]!;
    const share = gap === 0 ? 0 : (row - asked[previous]!) / gap;
    const [before, after] = [Math.min(last[previous]!, usual), Math.min(last[next]!, usual)];
    background[row] = before + share * (after - before) - 0.01;
  }
  return background;
}
