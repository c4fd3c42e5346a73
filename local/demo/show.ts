import type { Case } from '../../functions/core/case.ts';
import type { Reference } from '../../functions/core/reference.ts';
import { ACTION_STYLES, keyOf } from '../cli/render/scan.ts';
import { paint, type Screen, type Style } from '../cli/render/screen.ts';
import { type Column, renderTable } from '../cli/render/table.ts';
import { clock, pad, percent } from '../cli/render/text.ts';
import { renderTimeline, type TimelineRow } from '../cli/render/timeline.ts';
import type { ScanReport } from '../cli/report.ts';
import type { Finding } from './compare.ts';
import type { Upload } from './scenario.ts';
import { SAMPLE_RATE } from './synth/sound.ts';

// What the demo prints, as lines for a screen. Pure: everything here can be read and tested without a scan.

const STYLES: readonly Style[] = ['cyan', 'magenta', 'yellow', 'green'];

export const heading = (number: number, title: string, screen: Screen): string[] => [
  '',
  `${paint(screen, ['bold', 'cyan'], String(number))}  ${paint(screen, 'bold', title)}`,
];

export const indented = (lines: readonly string[]): string[] => lines.map((line) => `   ${line}`.trimEnd());

/** Breaks plain text between words. */
export function wrapped(text: string, columns: number): string[] {
  const lines = [''];
  for (const word of text.split(' ')) {
    const line = lines.at(-1)!;
    if (line === '') lines[lines.length - 1] = word;
    else if (line.length + 1 + word.length <= columns) lines[lines.length - 1] = `${line} ${word}`;
    else lines.push(word);
  }
  return lines;
}

/** One line per registered recording; columns are fixed, as the lines appear one by one. */
export function recordingLine(reference: Reference, genre: string, screen: Screen): string {
  const { title = '', artist = '', durationMs, segments } = reference;
  const count = String(segments).padStart(4);
  return `   ${paint(screen, 'green', '✔')} ${pad(title, 23)}${pad(artist, 22)}${pad(genre, 10)}${clock(durationMs)}  ${paint(screen, 'dim', `${count} segments`)}`;
}

export function uploadLines({ name, audio, file, story, hidden }: Upload, screen: Screen): string[] {
  const length = clock((audio.length / SAMPLE_RATE) * 1000);
  return indented([
    `${paint(screen, 'bold', name)}  ${paint(screen, 'dim', `${length} of ${file.words}`)}`,
    story,
    ...hidden.map(({ title, how }, i) => `${keyOf(i)}  ${title}, ${how}`),
  ]);
}

/** One time line: under each hidden stretch what was found of it. */
export function truthTimeline(report: ScanReport, findings: readonly Finding[], screen: Screen): string[] {
  const rows = findings.flatMap(({ hidden, detection }, i): TimelineRow[] => [
    {
      key: `${keyOf(i)} hidden`,
      spans: [{ startMs: hidden.uploadStartMs, endMs: hidden.uploadEndMs }],
      fill: '▒',
      style: 'dim',
      note: hidden.title,
    },
    {
      key: '  found',
      spans: (detection?.spans ?? []).map((span) => ({
        startMs: span.uploadStartMs,
        endMs: span.uploadEndMs,
      })),
      style: STYLES[i % STYLES.length]!,
      note: detection ? `${percent(detection.confidence)} sure` : 'not found',
    },
  ]);
  return indented(renderTimeline(report.durationMs, rows, { ...screen, columns: screen.columns - 3 }));
}

const TRUTH_COLUMNS: readonly Column[] = [
  { title: '' },
  { title: 'recording' },
  { title: '' },
  { title: 'in the upload' },
  { title: 'in the recording' },
  { title: 'speed', align: 'right' },
  { title: 'action' },
];

/** What was hidden, what was found, and how far apart they are. */
export function truthTable(findings: readonly Finding[], screen: Screen): string[] {
  const rows = findings.flatMap(({ hidden, detection, found, off, right }, i) => {
    const truth = [
      keyOf(i),
      hidden.title,
      'hidden',
      tenthsSpan(hidden.uploadStartMs, hidden.uploadEndMs),
      tenthsSpan(hidden.referenceStartMs, hidden.referenceEndMs),
      `×${hidden.speed.toFixed(3)}`,
      '',
    ];
    if (!detection || !found || !off) {
      return [truth, ['', '', paint(screen, 'red', 'not found'), '', '', '', '']];
    }
    return [
      truth,
      [
        '',
        '',
        'found',
        tenthsSpan(found.uploadStartMs, found.uploadEndMs),
        tenthsSpan(found.referenceStartMs, found.referenceEndMs),
        `×${found.speed.toFixed(3)}`,
        paint(screen, ACTION_STYLES[detection.action], detection.action),
      ],
      [
        '',
        '',
        paint(screen, right ? 'green' : 'red', 'off by'),
        errors(off.uploadStartMs, off.uploadEndMs),
        errors(off.referenceStartMs, off.referenceEndMs),
        signed(off.speed, 3),
        '',
      ].map((cell, n) => (n > 2 ? paint(screen, 'dim', cell) : cell)),
    ];
  });
  return indented(renderTable(TRUTH_COLUMNS, rows, { ...screen, columns: screen.columns - 3 }));
}

/** `0:07.4`: tenths matter where truth is known. */
export function tenths(ms: number): string {
  const total = Math.round(ms / 100);
  const minutes = Math.floor(total / 600);
  return `${minutes}:${((total % 600) / 10).toFixed(1).padStart(4, '0')}`;
}

const tenthsSpan = (startMs: number, endMs: number) => `${tenths(startMs)} – ${tenths(endMs)}`;

/** Errors of a start and an end, in seconds: `+0.1 s, −0.3 s`. */
const errors = (...offMs: number[]): string => offMs.map((ms) => `${signed(ms / 1000, 2)} s`).join(', ');

function signed(value: number, digits: number): string {
  const size = Math.abs(value).toFixed(digits);
  return Number(size) === 0 ? `±${size}` : `${value < 0 ? '−' : '+'}${size}`;
}

/** The cases that wait, most urgent first. */
export function caseTable(
  cases: readonly Case[],
  named: ReadonlyMap<string, Reference>,
  screen: Screen,
): string[] {
  const rows = cases.map(({ caseId, priority, reasons, detection }) => [
    caseId,
    String(priority),
    named.get(detection.referenceId)?.title ?? detection.referenceId,
    paint(screen, ACTION_STYLES[detection.action], detection.action),
    // The first reason is the action itself.
    reasons
      .slice(1)
      .map((reason) => reason.toLowerCase().replaceAll('_', ' '))
      .join(', '),
  ]);
  const columns: readonly Column[] = [
    { title: 'case' },
    { title: 'priority', align: 'right' },
    { title: 'found', shrinkTo: 10 },
    { title: 'asked' },
    { title: 'look at', shrinkTo: 10 },
  ];
  return indented(renderTable(columns, rows, { ...screen, columns: screen.columns - 3 }));
}
