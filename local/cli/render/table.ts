import stringWidth from 'string-width';
import { paint, type Screen } from './screen.ts';
import { pad, truncate } from './text.ts';

export interface Column {
  title: string;
  align?: 'left' | 'right';
  /** May be shortened where the screen is narrow, down to this many columns. */
  shrinkTo?: number;
  /** Where a shortened text loses its letters. */
  cut?: 'end' | 'middle';
}

const GAP = '  ';

/**
 * Draws rows under a dim header, as lines that fit the screen; without borders, so that rows can be copied and the
 * columns are all for the text. Cells are one line each, safe to print (see `safe`); only cells of columns that never
 * shrink may be styled.
 */
export function renderTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  screen: Screen,
): string[] {
  const widths = fitted(
    columns.map(({ title }, i) => Math.max(stringWidth(title), ...rows.map((row) => stringWidth(row[i]!)))),
    columns,
    screen.columns,
  );
  const line = (cells: readonly string[]) =>
    cells
      .map((text, i) => {
        const { align = 'left', shrinkTo, cut } = columns[i]!;
        return pad(shrinkTo === undefined ? text : truncate(text, widths[i]!, cut), widths[i]!, align);
      })
      .join(GAP)
      .trimEnd();
  return [paint(screen, 'dim', line(columns.map(({ title }) => title))), ...rows.map(line)];
}

/** Takes from the widest column that may shrink until all fit. */
function fitted(natural: readonly number[], columns: readonly Column[], screenColumns: number): number[] {
  const widths = [...natural];
  const room = screenColumns - GAP.length * (columns.length - 1);
  const slack = (i: number) => widths[i]! - (columns[i]!.shrinkTo ?? Number.POSITIVE_INFINITY);
  for (let excess = widths.reduce((a, b) => a + b, 0) - room; excess > 0; excess--) {
    const widest = columns
      .map((_, i) => i)
      .filter((i) => slack(i) > 0)
      .sort((a, b) => widths[b]! - widths[a]!)[0];
    if (widest === undefined) break;
    widths[widest]!--;
  }
  return widths;
}
