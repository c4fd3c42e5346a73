import { basename } from 'node:path';
import type { Action } from '../../../functions/core/detection.ts';
import type { Verdict } from '../../../functions/core/scan.ts';
import { coveredMs } from '../../../functions/core/span.ts';
import type { ScanReport } from '../report.ts';
import { paint, type Screen, type Style } from './screen.ts';
import { type Column, renderTable } from './table.ts';
import { clock, clockSpan, count, percent, safe } from './text.ts';
import { renderTimeline, type TimelineRow } from './timeline.ts';

const VERDICTS: Record<Verdict, { sign: string; style: Style }> = {
  clear: { sign: '✔', style: 'green' },
  flagged: { sign: '⚑', style: 'red' },
  rejected: { sign: '✘', style: 'magenta' },
  incomplete: { sign: '◐', style: 'yellow' },
};

export const ACTION_STYLES: Record<Action, Style> = {
  block: 'red',
  review: 'yellow',
  monetise: 'blue',
  track: 'cyan',
  allow: 'green',
};

/** Rows of a time line take these in turn; letters say the same to who sees no colours. */
const REFERENCE_STYLES: readonly Style[] = ['cyan', 'yellow', 'magenta', 'green', 'blue', 'red'];
const MOST_ROWS = 12;

export const paintVerdict = (screen: Screen, verdict: Verdict): string => {
  const { sign, style } = VERDICTS[verdict];
  return paint(screen, style, `${sign} ${verdict}`);
};

/** What a person wants to see of one scan: the verdict, where which reference lies, and the detections. */
export function renderScan(scan: ScanReport, screen: Screen): string[] {
  const { verdict, reason, path, durationMs, searchedMs, detections } = scan;
  const heard = durationMs > 0 ? paint(screen, 'dim', `  ${lengthOf(durationMs, searchedMs)}`) : '';
  const lines = [`${paintVerdict(screen, verdict)}  ${paint(screen, 'bold', safe(path))}${heard}`];
  if (reason) lines.push(`  ${safe(reason.message)} ${paint(screen, 'dim', `(${reason.code})`)}`);
  if (detections.length > 0)
    lines.push(...detectionLines(detections, scan.unsearched ?? [], durationMs, screen));
  const silent = scan.unsearched ?? [];
  if (detections.length === 0 && silent.length > 0) {
    lines.push(paint(screen, 'dim', `  not searched: ${unsearchedWords(silent)}`));
  }
  return lines;
}

const lengthOf = (durationMs: number, searchedMs: number): string =>
  durationMs - searchedMs < 1000
    ? `${clock(durationMs)}, all of it searched`
    : `${clock(durationMs)}, ${clock(searchedMs)} of it searched`;

type Detections = ScanReport['detections'];
type Unsearched = NonNullable<ScanReport['unsearched']>;

/** Detections as a time line of the upload and a table of all their spans. */
export function detectionLines(
  detections: Detections,
  unsearched: Unsearched,
  durationMs: number,
  screen: Screen,
): string[] {
  const body = { ...screen, columns: screen.columns - 2 };
  const lines = [
    ...renderTimeline(durationMs, timelineOf(detections, unsearched), body),
    '',
    ...detectionTable(detections, body),
  ];
  return lines.map((line) => `  ${line}`.trimEnd());
}

function timelineOf(detections: Detections, unsearched: Unsearched): TimelineRow[] {
  const rows: TimelineRow[] = detections.slice(0, MOST_ROWS).map((detection, i) => ({
    key: keyOf(i),
    spans: detection.spans.map(({ uploadStartMs, uploadEndMs }) => ({
      startMs: uploadStartMs,
      endMs: uploadEndMs,
    })),
    style: REFERENCE_STYLES[i % REFERENCE_STYLES.length]!,
    note: nameOf(detection),
  }));
  if (unsearched.length > 0) {
    rows.push({ key: ' ', spans: unsearched, fill: '░', style: 'dim', note: 'not searched' });
  }
  return rows;
}

/** A, B, … Z, AA, AB, … */
export function keyOf(index: number): string {
  const letter = String.fromCharCode(65 + (index % 26));
  return index < 26 ? letter : keyOf(Math.floor(index / 26) - 1) + letter;
}

/** How people name a recording: by its title, else by its file, else by its id. Safe to print. */
export function nameOf({ title, artist, path, referenceId }: Named): string {
  const name = title || (path && basename(path)) || referenceId;
  return safe([name, artist].filter(Boolean).join(' – '));
}

interface Named {
  title?: string | undefined;
  artist?: string | undefined;
  path?: string;
  referenceId: string;
}

const DETECTION_COLUMNS: readonly Column[] = [
  { title: '' },
  { title: 'found', shrinkTo: 10 },
  { title: 'in upload' },
  { title: 'in reference' },
  { title: 'speed', align: 'right' },
  { title: 'sure', align: 'right' },
  { title: 'length', align: 'right' },
  { title: 'action' },
];

function detectionTable(detections: Detections, screen: Screen): string[] {
  const rows = detections.flatMap((detection, i) =>
    detection.spans.map((span, n) => [
      n === 0 ? keyOf(i) : '',
      n === 0 ? nameOf(detection) : '',
      clockSpan(span.uploadStartMs, span.uploadEndMs),
      clockSpan(span.referenceStartMs, span.referenceEndMs),
      `×${span.speed.toFixed(2)}`,
      percent(span.confidence),
      clock(span.uploadEndMs - span.uploadStartMs),
      n === 0 ? paint(screen, ACTION_STYLES[detection.action], detection.action) : '',
    ]),
  );
  return renderTable(DETECTION_COLUMNS, rows, screen);
}

function unsearchedWords(spans: Unsearched): string {
  const total = `${clock(coveredMs(spans))} (${[...new Set(spans.map(({ why }) => why))].join(', ')})`;
  if (spans.length > 3) return `${total} in ${count(spans.length, 'place')}`;
  return spans.map(({ startMs, endMs, why }) => `${clockSpan(startMs, endMs)} (${why})`).join(', ');
}
