import stringWidth from 'string-width';
import { describe, expect, test } from 'vitest';
import { keyOf, renderScan } from '../../local/cli/render/scan.ts';
import { screenOf } from '../../local/cli/render/screen.ts';
import { renderTable } from '../../local/cli/render/table.ts';
import { clock, percent, safe, truncate } from '../../local/cli/render/text.ts';
import { renderTimeline } from '../../local/cli/render/timeline.ts';
import type { ScanReport } from '../../local/cli/report.ts';

const SCREEN = { columns: 80, colour: false };

describe('safe', () => {
  test.each([
    ['a\nb\r\tc', 'a\\nb\\r\\tc'],
    ['\u001b[2Jgone', '\\x1b[2Jgone'],
    ['\u009b31m', '\\x9b31m'],
    ['evil\u202e3pm.exe', 'evil\\u202e3pm.exe'],
    ['half \ud83d', 'half \\ud83d'],
    ['\u2028', '\\u2028'],
  ])('shows %j as %j', (foreign, shown) => {
    expect(safe(foreign)).toBe(shown);
  });

  test.each([`it's "quoted"`, 'naïve 夜 🎉', '👩‍🎤.mp3', '../up.mp3', 'C:\\new'])(
    'leaves %j alone',
    (text) => {
      expect(safe(text)).toBe(text);
    },
  );
});

describe('truncate', () => {
  test('keeps what fits', () => {
    expect(truncate('short', 5)).toBe('short');
  });

  test('counts terminal columns, and never splits a character', () => {
    expect(truncate('夜の歌を聞く', 8)).toBe('夜の歌…');
    expect(truncate('👩‍🎤👩‍🎤👩‍🎤', 5)).toBe('👩‍🎤👩‍🎤…');
  });

  test('cuts a path in its middle, so that its name stays', () => {
    expect(truncate('/very/long/path/to/song.mp3', 16, 'middle')).toBe('/very/lo…ong.mp3');
  });
});

test('times are written as people say them', () => {
  expect([0, 7_400, 725_000, 3_723_000, 3_599_600].map(clock)).toEqual([
    '0:00',
    '0:07',
    '12:05',
    '1:02:03',
    '1:00:00',
  ]);
});

test('a percentage says 0 and 100 only of nothing and of everything', () => {
  expect([0, 0.001, 0.5, 0.999, 1].map(percent)).toEqual(['0%', '1%', '50%', '99%', '100%']);
});

describe('renderTable', () => {
  const columns = [
    { title: 'name', shrinkTo: 5 },
    { title: 'n', align: 'right' as const },
    { title: 'state' },
  ];

  test('aligns cells by terminal columns', () => {
    const lines = renderTable(
      columns,
      [
        ['夜の歌', '7', 'active'],
        ['Song', '12', 'off'],
      ],
      SCREEN,
    );

    expect(lines).toEqual(['name     n  state', '夜の歌   7  active', 'Song    12  off']);
  });

  test('shrinks only what may shrink, to the width of the screen', () => {
    const lines = renderTable(columns, [['x'.repeat(200), '7', 'active']], SCREEN);

    expect(Math.max(...lines.map((line) => stringWidth(line)))).toBe(80);
    expect(lines[1]).toMatch(/^x+… {2}7 {2}active$/);
  });
});

describe('renderTimeline', () => {
  const at = (startMs: number, endMs: number) => ({ startMs, endMs });

  test('puts spans where they belong on the axis', () => {
    const lines = renderTimeline(100_000, [{ key: 'A', spans: [at(25_000, 50_000)] }], {
      columns: 43,
      colour: false,
    });

    expect(lines).toEqual([
      '   0:00    0:25      0:50      1:15    1:40',
      `A  ${'·'.repeat(10)}${'█'.repeat(10)}${'·'.repeat(20)}`,
    ]);
  });

  test('shows even the shortest span, and the one at the very end', () => {
    const spans = [at(0, 10), at(99_990, 100_000)];

    const [, line] = renderTimeline(100_000, [{ key: 'A', spans }], SCREEN);

    expect(line).toMatch(/^A {2}█·+█$/);
  });

  test('stays within the screen with notes of any length', () => {
    const rows = [{ key: 'AA', spans: [at(0, 1)], note: '夜'.repeat(100) }];

    for (const columns of [60, 80, 120]) {
      const lines = renderTimeline(3 * 3_600_000, rows, { columns, colour: false });
      expect(Math.max(...lines.map((line) => stringWidth(line)))).toBeLessThanOrEqual(columns);
    }
  });

  test('survives an upload without length', () => {
    expect(renderTimeline(0, [{ key: 'A', spans: [at(0, 0)] }], SCREEN)).toHaveLength(2);
  });
});

describe('renderScan', () => {
  const clear: ScanReport = {
    path: 'my\nsong.mp3',
    scanId: 'scan_1',
    verdict: 'clear',
    durationMs: 600_000,
    searchedMs: 600_000,
    model: 'm',
    detections: [],
  };
  const span = (uploadStartMs: number, speed: number) => ({
    uploadStartMs,
    uploadEndMs: uploadStartMs + 30_000,
    referenceStartMs: 60_000,
    referenceEndMs: 60_000 + 30_000 * speed,
    speed,
    confidence: 0.987,
  });
  const flagged: ScanReport = {
    ...clear,
    verdict: 'flagged',
    searchedMs: 588_000,
    unsearched: [{ startMs: 0, endMs: 12_000, why: 'silence' }],
    detections: [
      {
        referenceId: 'ref_1',
        title: 'Night \u001b[31mSong',
        artist: 'Somebody',
        path: 'night.flac',
        confidence: 0.987,
        action: 'review',
        coverage: { upload: 0.1, reference: 0.2 },
        spans: [span(60_000, 1), span(300_000, 1.03)],
      },
    ],
  };

  test('says in one line that a file is clear, with its name on that line', () => {
    expect(renderScan(clear, SCREEN)).toEqual(['✔ clear  my\\nsong.mp3  10:00, all of it searched']);
  });

  test('names every place of a detection on both sides', () => {
    const text = renderScan(flagged, SCREEN).join('\n');

    expect(text).toContain('⚑ flagged');
    expect(text).toMatch(/A +Night .* 1:00–1:30 +1:00–1:30 +×1\.00 +99% +0:30 +review/);
    expect(text).toMatch(/5:00–5:30 +1:00–1:31 +×1\.03/);
    expect(text).toMatch(/░·+ {2}not searched/);
  });

  test('lets nothing of a title through to the terminal, and stays within it', () => {
    const lines = renderScan(flagged, SCREEN);

    expect(lines.join('')).not.toContain('\u001b');
    expect(Math.max(...lines.map((line) => stringWidth(line)))).toBeLessThanOrEqual(80);
  });

  test('gives the reason of a verdict', () => {
    const reason = { code: 'NOT_MEDIA', message: 'this is text' };

    expect(renderScan({ ...clear, verdict: 'rejected', reason, durationMs: 0 }, SCREEN)).toEqual([
      '✘ rejected  my\\nsong.mp3',
      '  this is text (NOT_MEDIA)',
    ]);
  });

  test('says what a clear file was not searched in', () => {
    const unsearched = [{ startMs: 0, endMs: 12_000, why: 'silence' as const }];

    expect(renderScan({ ...clear, searchedMs: 588_000, unsearched }, SCREEN).join('\n')).toContain(
      'not searched: 0:00–0:12 (silence)',
    );
  });

  test('colours only where they can be seen', () => {
    expect(renderScan(clear, SCREEN).join('')).not.toContain('\u001b[');
    expect(renderScan(clear, { ...SCREEN, colour: true }).join('')).toContain('\u001b[32m');
  });
});

test('keys go on after Z', () => {
  expect([0, 25, 26, 51, 52].map(keyOf)).toEqual(['A', 'Z', 'AA', 'AZ', 'BA']);
});

describe('screenOf', () => {
  const stream = (isTTY: boolean, colours: boolean, columns?: number) =>
    ({ isTTY, columns, hasColors: () => colours }) as unknown as NodeJS.WriteStream;

  test('a pipe has no colours unless they are asked for', () => {
    expect(screenOf(stream(false, true), {}).colour).toBe(false);
    expect(screenOf(stream(false, true), { FORCE_COLOR: '1' }).colour).toBe(true);
    expect(screenOf(stream(false, true), { FORCE_COLOR: '1', NO_COLOR: '1' }).colour).toBe(false);
  });

  test('a terminal is taken as wide as it is, within reason', () => {
    expect([20, 80, 300].map((columns) => screenOf(stream(true, true, columns), {}).columns)).toEqual([
      60, 80, 120,
    ]);
    expect(screenOf(stream(false, false), { COLUMNS: '90' }).columns).toBe(90);
  });
});
