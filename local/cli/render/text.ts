import stringWidth from 'string-width';

/**
 * What must not reach a terminal as it is: control characters (they move the cursor, recolour the screen, break
 * lines), characters that turn the reading direction around or are invisible, and halves of characters. The joiner
 * U+200D stays: emoji are made with it.
 */
const UNSAFE = /[\p{Cc}\p{Zl}\p{Zp}\p{Cs}\u200B\u200C\u200E\u200F\u202A-\u202E\u2060-\u2069\uFEFF]/gu;

const SHORT: Record<string, string> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };

/** Makes foreign text (file names, tags, reasons) safe to print on one line. */
export function safe(text: string): string {
  return text.replaceAll(UNSAFE, (character) => {
    const code = character.codePointAt(0)!;
    const hex = code.toString(16);
    return SHORT[character] ?? (code < 0x100 ? `\\x${hex.padStart(2, '0')}` : `\\u${hex.padStart(4, '0')}`);
  });
}

const graphemes = new Intl.Segmenter(undefined, { granularity: 'grapheme' });

/** Shortens unstyled text to `columns` terminal columns; what is cut leaves an ellipsis. */
export function truncate(text: string, columns: number, where: 'end' | 'middle' = 'end'): string {
  if (stringWidth(text) <= columns) return text;
  const room = Math.max(0, columns - 1);
  const clusters = Array.from(graphemes.segment(text), ({ segment }) => segment);
  const atStart = takeColumns(clusters, where === 'end' ? room : Math.ceil(room / 2));
  const atEnd = where === 'end' ? '' : takeColumns(clusters.reverse(), Math.floor(room / 2), true);
  return `${atStart}…${atEnd}`;
}

function takeColumns(clusters: readonly string[], columns: number, fromEnd = false): string {
  let taken = '';
  let width = 0;
  for (const cluster of clusters) {
    width += stringWidth(cluster);
    if (width > columns) break;
    taken = fromEnd ? cluster + taken : taken + cluster;
  }
  return taken;
}

/** Fills up with spaces to `columns`; styled text may come in. */
export function pad(text: string, columns: number, align: 'left' | 'right' = 'left'): string {
  const fill = ' '.repeat(Math.max(0, columns - stringWidth(text)));
  return align === 'left' ? text + fill : fill + text;
}

/** `1 file`, `2 files`. */
export const count = (n: number, one: string, many = `${one}s`): string => `${n} ${n === 1 ? one : many}`;

/** `63%`. Says `100%` and `0%` only of what is exactly that: `99.9%` of a file is not the whole file. */
export function percent(share: number): string {
  if (share <= 0 || share >= 1) return `${share <= 0 ? 0 : 100}%`;
  return `${Math.min(99, Math.max(1, Math.round(share * 100)))}%`;
}

/** `0:07`, `12:05`, `1:02:03`; to the nearest second. */
export function clock(ms: number): string {
  const total = Math.round(ms / 1000);
  const hours = Math.floor(total / 3600);
  const minutes = Math.floor(total / 60) % 60;
  const seconds = String(total % 60).padStart(2, '0');
  return hours === 0 ? `${minutes}:${seconds}` : `${hours}:${String(minutes).padStart(2, '0')}:${seconds}`;
}

export const clockSpan = (startMs: number, endMs: number): string => `${clock(startMs)}–${clock(endMs)}`;
