import { text } from 'node:stream/consumers';
import stringWidth from 'string-width';

// Draws what a program printed, colours and all, as an SVG picture of a terminal, from the line that contains one text
// to the line that contains another:
//   FORCE_COLOR=1 COLUMNS=100 node local/demo/demo.ts | node local/demo/picture.ts 'something to hide' 'in all' > docs/demo.svg

const COLUMN = 8.4;
const LINE = 19;
const MARGIN = 22;
const TITLE_BAR = 34;
const FONT_SIZE = 14;

const BACKGROUND = '#0f1419';
const FOREGROUND = '#d4d9e0';
/** By ANSI colour number. */
const COLOURS: Record<number, string> = {
  30: '#5c6773',
  31: '#f07178',
  32: '#8ccf7e',
  33: '#e6c15c',
  34: '#6cb6eb',
  35: '#cf8ef4',
  36: '#5fd3c8',
  37: FOREGROUND,
};

interface Look {
  colour: string;
  bold: boolean;
  dim: boolean;
}

interface Run extends Look {
  column: number;
  columns: number;
  text: string;
}

const PLAIN: Look = { colour: FOREGROUND, bold: false, dim: false };

/** Applies one "select graphic rendition" code. */
function applied(look: Look, code: number): Look {
  if (code === 0) return PLAIN;
  if (code === 1) return { ...look, bold: true };
  if (code === 2) return { ...look, dim: true };
  if (code === 22) return { ...look, bold: false, dim: false };
  if (code === 39) return { ...look, colour: FOREGROUND };
  return { ...look, colour: COLOURS[code] ?? look.colour };
}

/** Blocks, shades and rows of dots are drawn, not written: each is a run of its own. Spaces part runs where two meet. */
const PIECES = /█+|▒+|·{2,}| {2,}|(?:(?! {2}|·{2})[^█▒])+/g;

/** Cuts a line into runs of one look. */
function runsOf(line: string): Run[] {
  const runs: Run[] = [];
  let look = PLAIN;
  let column = 0;
  const [start = '', ...styled] = line.split('\u001b[');
  for (const part of [`m${start}`, ...styled]) {
    const end = part.indexOf('m');
    if (end > 0) for (const code of part.slice(0, end).split(';')) look = applied(look, Number(code));
    for (const [piece] of part.slice(end + 1).matchAll(PIECES)) {
      const columns = stringWidth(piece);
      if (piece.trim() !== '') runs.push({ ...look, column, columns, text: piece });
      column += columns;
    }
  }
  return runs;
}

function drawRun({ column, columns, text: words, colour, bold, dim }: Run, baseline: number): string {
  const x = (MARGIN + column * COLUMN).toFixed(1);
  const width = (columns * COLUMN).toFixed(1);
  const opacity = dim ? 0.6 : 1;
  if (/^[█▒]/.test(words)) {
    const strength = words.startsWith('▒') ? 0.45 : opacity;
    return `<rect x="${x}" y="${baseline - 12}" width="${width}" height="14" rx="2" fill="${colour}" opacity="${strength}"/>`;
  }
  if (/^·+$/.test(words)) {
    // One dot in the middle of each column.
    const dots = `stroke-dasharray="0 ${COLUMN}" stroke-dashoffset="${-COLUMN / 2}" stroke-linecap="round" stroke-width="1.8"`;
    return `<path d="M${x} ${baseline - 4.5}h${width}" stroke="${colour}" opacity="${opacity}" ${dots}/>`;
  }
  const weight = bold ? ' font-weight="600"' : '';
  const faint = dim ? ` opacity="${opacity}"` : '';
  const escaped = words.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
  return `<text x="${x}" y="${baseline}" textLength="${width}" fill="${colour}"${weight}${faint}>${escaped}</text>`;
}

function draw(printed: string): string {
  const lines = printed.trimEnd().split('\n').map(runsOf);
  const columns = Math.max(...lines.flat().map((run) => run.column + run.columns));
  const width = Math.ceil(columns * COLUMN + 2 * MARGIN);
  const height = TITLE_BAR + lines.length * LINE + MARGIN;
  const lights = ['#f07178', '#e6c15c', '#8ccf7e'].map(
    (colour, i) => `<circle cx="${MARGIN + i * 18}" cy="18" r="5.5" fill="${colour}"/>`,
  );
  const body = lines.flatMap((runs, i) => runs.map((run) => drawRun(run, TITLE_BAR + (i + 1) * LINE - 5)));
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">`,
    '<title>npm run demo: Refrain registers ten recordings, finds two of them in an upload, and clears another</title>',
    `<rect width="${width}" height="${height}" rx="9" fill="${BACKGROUND}"/>`,
    ...lights,
    `<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="${FONT_SIZE}" xml:space="preserve">`,
    ...body,
    '</g>',
    '</svg>',
    '',
  ].join('\n');
}

function cut(printed: string, [from = '', to]: string[]): string {
  const lines = printed.trimEnd().split('\n');
  const first = lines.findIndex((line) => line.includes(from));
  const last = to === undefined ? lines.length - 1 : lines.findLastIndex((line) => line.includes(to));
  return lines.slice(first, last + 1).join('\n');
}

process.stdout.write(draw(cut(await text(process.stdin), process.argv.slice(2))));
