import { describe, expect, test } from 'vitest';
import type { Case, Decision } from '../../functions/core/case.ts';
import { ConflictError } from '../../functions/core/errors.ts';
import { decideCase } from '../../functions/core/review.ts';

const OPEN: Case = {
  caseId: 'case_1',
  scanId: 'scan_1',
  upload: { bucket: 'uploads', key: 'a.mp3' },
  detection: {
    detectionId: 'det_1',
    referenceId: 'ref_1',
    confidence: 0.99,
    coverage: { upload: 0.5, reference: 0.5 },
    matchedMs: 30_000,
    spans: [
      {
        uploadStartMs: 0,
        uploadEndMs: 30_000,
        referenceStartMs: 0,
        referenceEndMs: 30_000,
        speed: 1,
        confidence: 0.99,
      },
    ],
    action: 'review',
  },
  state: 'open',
  reasons: ['POLICY_REVIEW'],
  priority: 70,
  decisions: [],
  version: 0,
  openedAt: '2026-01-01T00:00:00.000Z',
};

const say = (decision: Decision['decision'], by = 'ada', reason = 'because'): Decision => ({
  decision,
  reason,
  by,
  at: '2026-01-02T00:00:00.000Z',
});

describe('the life of a case', () => {
  test.each([
    ['confirm', 'closed'],
    ['reject', 'closed'],
    ['escalate', 'escalated'],
    ['skip', 'open'],
  ] as const)('%s makes an open case %s', (decision, state) => {
    const decided = decideCase(OPEN, say(decision));

    expect(decided).toMatchObject({ state, version: 1, decisions: [{ decision }] });
  });

  test('an escalated case can be closed, and stays escalated when it is skipped', () => {
    const escalated = decideCase(OPEN, say('escalate'));

    expect(decideCase(escalated, say('skip', 'bob')).state).toBe('escalated');
    expect(decideCase(escalated, say('confirm', 'bob')).state).toBe('closed');
    expect(() => decideCase(escalated, say('escalate', 'bob'))).toThrow(
      /escalated already; confirm or reject/,
    );
  });

  test('history only grows, and the case that was given is left alone', () => {
    const skipped = decideCase(OPEN, say('skip'));
    const closed = decideCase(skipped, say('reject', 'bob'));

    expect(closed.decisions).toEqual([say('skip'), say('reject', 'bob')]);
    expect(closed.version).toBe(2);
    expect(OPEN.decisions).toEqual([]);
  });

  test('a closed case says who closed it, and takes no other decision', () => {
    const closed = decideCase(OPEN, say('confirm'));

    const again = () => decideCase(closed, say('reject', 'bob'));

    expect(again).toThrow(ConflictError);
    expect(again).toThrow('case case_1 is closed: ada said "confirm" on 2026-01-02');
  });

  test('saying the same again changes nothing, so that a repeated request does no harm', () => {
    const closed = decideCase(OPEN, say('confirm'));

    expect(decideCase(closed, { ...say('confirm'), at: '2026-01-03T00:00:00.000Z' })).toBe(closed);
    expect(() => decideCase(closed, say('confirm', 'ada', 'another reason'))).toThrow(ConflictError);
  });
});
