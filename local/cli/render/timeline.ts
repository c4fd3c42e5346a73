import type { TimeSpan } from '../../../functions/core/span.ts';
import { paint, type Screen, type Style } from './screen.ts';
import { clock, pad, truncate } from './text.ts';

/** One line of time: what it shows, and where. */
export interface TimelineRow {
  /** A letter or a word in front of the line. */
  key: string;
  spans: readonly TimeSpan[];
  /** What a covered cell looks like. Default `█`. */
  fill?: string;
  style?: Style;
  /** Words behind the line; safe to print. */
  note?: string;
}

const EMPTY = '·';
const NOTE_GAP = 2;
const WIDEST_LINE = 64;

/**
 * Draws rows over one time axis of `durationMs`, as lines that fit the screen:
 *
 * ```
 *    0:00      2:30      5:00      7:30     10:00
 * A  ····████████·······························   Title – Artist
 * B  ·························██████············   Another
 * ```
 *
 * A span is never lost to rounding: however short, it fills at least one cell.
 */
export function renderTimeline(durationMs: number, rows: readonly TimelineRow[], screen: Screen): string[] {
  const keyColumns = Math.max(...rows.map(({ key }) => key.length)) + NOTE_GAP;
  const noted = rows.some(({ note }) => note);
  const room = screen.columns - keyColumns;
  const cells = Math.min(WIDEST_LINE, noted ? Math.floor(room * 0.6) : room);
  const noteColumns = room - cells - NOTE_GAP;
  return [
    ' '.repeat(keyColumns) + paint(screen, 'dim', renderAxis(durationMs, cells)),
    ...rows.map(({ key, spans, fill = '█', style = 'cyan', note }) => {
      const line = renderCells(durationMs, spans, cells, fill)
        .split(/(?<=·)(?!·)|(?<!·)(?=·)/)
        .map((run) => paint(screen, run.startsWith(EMPTY) ? 'dim' : style, run))
        .join('');
      const words = note ? ' '.repeat(NOTE_GAP) + truncate(note, noteColumns) : '';
      return pad(key, keyColumns) + line + words;
    }),
  ];
}

function renderCells(durationMs: number, spans: readonly TimeSpan[], cells: number, fill: string): string {
  const line = new Array<string>(cells).fill(EMPTY);
  const cellOf = (ms: number) => (durationMs > 0 ? (ms / durationMs) * cells : 0);
  for (const { startMs, endMs } of spans) {
    const first = Math.min(cells - 1, Math.round(cellOf(startMs)));
    const last = Math.max(first + 1, Math.min(cells, Math.round(cellOf(endMs))));
    line.fill(fill, first, last);
  }
  return line.join('');
}

/** Five times, the first at the left end, the last at the right end, the others above the place they name. */
function renderAxis(durationMs: number, cells: number): string {
  const marks = cells >= 40 ? 4 : 2;
  let axis = '';
  for (let mark = 0; mark <= marks; mark++) {
    const label = clock((durationMs * mark) / marks);
    const centred = Math.round((cells * mark) / marks - label.length / 2);
    const start = Math.min(cells - label.length, Math.max(centred, axis.length + (mark === 0 ? 0 : 1)));
    axis = axis.padEnd(start) + label;
  }
  return axis;
}
