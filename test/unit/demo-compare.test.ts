import stringWidth from 'string-width';
import { describe, expect, it } from 'vitest';
import type { ScanReport } from '../../local/cli/report.ts';
import { compare } from '../../local/demo/compare.ts';
import type { Hidden } from '../../local/demo/scenario.ts';
import { tenths, truthTable, truthTimeline, wrapped } from '../../local/demo/show.ts';

const SCREEN = { columns: 100, colour: false };
const HIDDEN: Hidden = {
  title: 'Tune',
  uploadStartMs: 10_000,
  uploadEndMs: 30_000,
  referenceStartMs: 40_000,
  referenceEndMs: 60_800,
  speed: 1.04,
  how: 'sped up',
};
type Span = ScanReport['detections'][number]['spans'][number];
const SPAN: Span = {
  uploadStartMs: 10_100,
  uploadEndMs: 29_500,
  referenceStartMs: 40_100,
  referenceEndMs: 60_300,
  speed: 1.041,
  confidence: 0.99,
};

const reportWith = (...found: { title: string; spans: Span[] }[]): ScanReport => ({
  path: 'upload.mp3',
  scanId: 'scan_1',
  verdict: 'flagged',
  durationMs: 40_000,
  searchedMs: 40_000,
  model: 'm',
  detections: found.map(({ title, spans }) => ({
    referenceId: `ref_${title}`,
    title,
    artist: 'Artist',
    path: `${title}.flac`,
    confidence: 0.99,
    action: 'review',
    coverage: { upload: 0.5, reference: 0.5 },
    spans,
  })),
});

describe('a scan held against the truth', () => {
  it('is right within a second on both sides', () => {
    const { findings, unexpected } = compare([HIDDEN], reportWith({ title: 'Tune', spans: [SPAN] }));

    expect(unexpected).toEqual([]);
    expect(findings).toHaveLength(1);
    expect(findings[0]).toMatchObject({
      right: true,
      off: { uploadStartMs: 100, uploadEndMs: -500, referenceStartMs: 100, referenceEndMs: -500 },
    });
  });

  it.each<[string, Partial<Span>]>([
    ['starts too late', { uploadStartMs: 11_001 }],
    ['ends too early', { uploadEndMs: 28_999 }],
    ['lies elsewhere in the recording', { referenceStartMs: 42_000, referenceEndMs: 62_000 }],
    ['has another speed', { speed: 1.02 }],
  ])('is wrong when what was found %s', (_, change) => {
    const { findings } = compare([HIDDEN], reportWith({ title: 'Tune', spans: [{ ...SPAN, ...change }] }));

    expect(findings[0]!.right).toBe(false);
  });

  it('takes the parts that a voice has parted for one stretch', () => {
    const first = { ...SPAN, uploadEndMs: 15_000, referenceEndMs: 45_300, speed: 1 };
    const second = { ...SPAN, uploadStartMs: 19_000, referenceStartMs: 49_360 };

    const { findings } = compare([HIDDEN], reportWith({ title: 'Tune', spans: [second, first] }));

    const { confidence: _, ...whole } = SPAN;
    expect(findings[0]).toMatchObject({ right: true, found: whole });
  });

  it('tells what was missed, and what was never there', () => {
    const { findings, unexpected } = compare([HIDDEN], reportWith({ title: 'Other', spans: [SPAN] }));

    expect(findings).toEqual([{ hidden: HIDDEN, right: false }]);
    expect(unexpected.map(({ title }) => title)).toEqual(['Other']);
  });
});

describe('the picture of it', () => {
  const report = reportWith({ title: 'Tune', spans: [SPAN] });
  const { findings } = compare([HIDDEN], report);

  it('draws what was found below what was hidden', () => {
    const [, hidden, found] = truthTimeline(report, findings, SCREEN);

    expect(hidden).toMatch(/^ {3}A hidden {2}·+▒{20,}·+ {2}Tune$/);
    expect(found).toMatch(/^ {5}found {3}·+█{20,}·+ {2}99% sure$/);
    expect(Math.abs(hidden!.indexOf('▒') - found!.indexOf('█'))).toBeLessThan(2);
  });

  it('gives the errors in seconds', () => {
    const text = truthTable(findings, SCREEN).join('\n');

    expect(text).toContain('0:10.0 – 0:30.0');
    expect(text).toContain('0:10.1 – 0:29.5');
    expect(text).toContain('+0.10 s, −0.50 s');
    expect(text).toContain('×1.041');
  });

  it('says so when nothing was found', () => {
    const missed = compare([HIDDEN], reportWith()).findings;

    expect(truthTimeline(report, missed, SCREEN)[2]).toMatch(/^ {5}found {3}·+ {2}not found$/);
    expect(truthTable(missed, SCREEN).join('\n')).toContain('not found');
  });

  it.each([80, 100])('fits %i columns', (columns) => {
    const screen = { ...SCREEN, columns };

    for (const line of [...truthTimeline(report, findings, screen), ...truthTable(findings, screen)]) {
      expect(stringWidth(line)).toBeLessThanOrEqual(columns);
    }
  });

  it('breaks lines between words', () => {
    expect(wrapped('one two three, four', 9)).toEqual(['one two', 'three,', 'four']);
    expect(wrapped('unbreakable a', 5)).toEqual(['unbreakable', 'a']);
  });

  it('rounds times to tenths, also across the minute', () => {
    expect([0, 7_449, 59_960, 61_000].map(tenths)).toEqual(['0:00.0', '0:07.4', '1:00.0', '1:01.0']);
  });
});
