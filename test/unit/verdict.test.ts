import { describe, expect, it } from 'vitest';
import { refusalReasons } from '../../functions/core/admission.ts';
import type { Detection } from '../../functions/core/detection.ts';
import { SegmentGrid } from '../../functions/core/segment-grid.ts';
import { type Listened, sumUp, verdictOf } from '../../functions/core/verdict.ts';

const grid = new SegmentGrid({ sampleRate: 16_000, segmentSamples: 36_000, hopSamples: 8_000 });
const numbers = (from: number, to: number) => Uint32Array.from({ length: to - from }, (_, i) => from + i);
const lasting = (durationMs: number) => ({ durationMs, truncated: false });
const detection = (action: Detection['action']) => ({ action }) as Detection;

const heard = (overrides: Partial<Listened> = {}): Listened => ({
  durationMs: 60_000,
  searchedMs: 60_000,
  unsearched: [],
  truncated: false,
  tooShort: false,
  ...overrides,
});

describe('what was listened to', () => {
  it('is everything when every segment is audible', () => {
    const all = grid.segmentsIn(60 * 16_000);
    expect(sumUp(numbers(0, all), [], lasting(60_000), grid)).toMatchObject({
      unsearched: [],
      tooShort: false,
    });
  });

  it('leaves out silence, and says where', () => {
    // Ten audible segments end at 6.75 s; the next audible one starts at 20 s.
    const segments = Uint32Array.from([...numbers(0, 10), ...numbers(40, 50)]);
    expect(sumUp(segments, [], lasting(26_750), grid)).toMatchObject({
      searchedMs: 13_500,
      unsearched: [{ startMs: 6_750, endMs: 20_000, why: 'silence' }],
    });
  });

  it('blames a gap on the decoder where the decoder failed', () => {
    const segments = Uint32Array.from([...numbers(0, 10), ...numbers(40, 50)]);
    const { unsearched } = sumUp(segments, [{ startMs: 6_000, endMs: 20_500 }], lasting(26_750), grid);
    expect(unsearched).toEqual([{ startMs: 6_000, endMs: 20_500, why: 'undecodable' }]);
  });
});

describe('a verdict', () => {
  it('is clear only of what was searched to the end', () => {
    expect(verdictOf([], heard())).toEqual({ verdict: 'clear' });
    expect(verdictOf([], heard({ truncated: true }))).toMatchObject({
      verdict: 'incomplete',
      reason: { code: 'TRUNCATED' },
    });
    const brokeOff = { code: 'DECODER_CRASHED', message: 'crash' };
    expect(verdictOf([], heard({ brokeOff }))).toEqual({ verdict: 'incomplete', reason: brokeOff });
    const unsearched = [{ startMs: 0, endMs: 1_001, why: 'undecodable' as const }];
    expect(verdictOf([], heard({ unsearched }))).toMatchObject({ verdict: 'incomplete' });
  });

  it('is clear of an upload with a pause in it', () => {
    const unsearched = [{ startMs: 0, endMs: 20_000, why: 'silence' as const }];
    expect(verdictOf([], heard({ unsearched })).verdict).toBe('clear');
  });

  it('is flagged as soon as one match asks for more than to be allowed', () => {
    expect(verdictOf([detection('allow')], heard()).verdict).toBe('clear');
    expect(verdictOf([detection('allow'), detection('track')], heard()).verdict).toBe('flagged');
  });

  it('that is flagged still tells what was not searched', () => {
    expect(verdictOf([detection('block')], heard({ truncated: true }))).toMatchObject({
      verdict: 'flagged',
      reason: { code: 'TRUNCATED' },
    });
  });

  it.each([
    [heard({ searchedMs: 0, unsearched: [{ startMs: 0, endMs: 60_000, why: 'silence' }] }), 'SILENT'],
    [heard({ searchedMs: 0, durationMs: 200, tooShort: true }), 'TOO_SHORT'],
    [
      heard({ searchedMs: 0, unsearched: [{ startMs: 0, endMs: 60_000, why: 'undecodable' }] }),
      'UNDECODABLE',
    ],
    [heard({ searchedMs: 0, durationMs: 0, brokeOff: { code: 'NOT_MEDIA', message: 'text' } }), 'NOT_MEDIA'],
  ])('rejects what holds nothing to search (%#)', (listened, code) => {
    expect(verdictOf([], listened)).toMatchObject({ verdict: 'rejected', reason: { code } });
  });
});

describe('admission', () => {
  it('lets sound recordings in', () => {
    expect(refusalReasons(heard())).toEqual([]);
  });

  it.each([
    [heard({ searchedMs: 4_000, durationMs: 4_000 }), 'TOO_SHORT'],
    [heard({ searchedMs: 3_000, durationMs: 60_000 }), 'SILENT'],
    [heard({ unsearched: [{ startMs: 0, endMs: 7_000, why: 'undecodable' }] }), 'DAMAGED'],
    [heard({ brokeOff: { code: 'NO_AUDIO', message: 'video only' } }), 'NO_AUDIO'],
  ])('refuses what could not be found again (%#)', (listened, code) => {
    expect(refusalReasons(listened)).toMatchObject([{ code }]);
  });
});
