import { describe, expect, it } from 'vitest';
import { DEFAULT_POLICY, decideAction, type Measured, Policy } from '../../functions/core/policy.ts';

const measured = (overrides: Partial<Measured> = {}): Measured => ({
  confidence: 0.99,
  coverage: { upload: 0.4, reference: 0.2 },
  matchedMs: 45_000,
  ...overrides,
});

const blockLongMatches: Policy = Policy.parse({
  rules: [
    {
      when: [
        { of: 'upload', unit: 'seconds', relation: 'atLeast', value: 30 },
        { of: 'confidence', relation: 'atLeast', value: 0.95 },
      ],
      action: 'block',
    },
    { when: [{ of: 'reference', unit: 'percent', relation: 'lessThan', value: 5 }], action: 'allow' },
    { action: 'monetise' },
  ],
});

describe('a policy', () => {
  it('asks a person unless somebody says otherwise', () => {
    expect(decideAction([DEFAULT_POLICY], measured())).toBe('review');
  });

  it('takes the first rule whose conditions all hold', () => {
    expect(decideAction([blockLongMatches], measured())).toBe('block');
    expect(decideAction([blockLongMatches], measured({ confidence: 0.9 }))).toBe('monetise');
    expect(decideAction([blockLongMatches], measured({ matchedMs: 29_999 }))).toBe('monetise');
  });

  it('measures percent of the side that it names', () => {
    const little = measured({ matchedMs: 5000, coverage: { upload: 0.9, reference: 0.04 } });
    expect(decideAction([blockLongMatches], little)).toBe('allow');
  });

  it('gives way to a more restrictive one', () => {
    const allow: Policy = { rules: [{ when: [], action: 'allow' }] };
    const track: Policy = { rules: [{ when: [], action: 'track' }] };
    expect(decideAction([allow, track], measured())).toBe('track');
    expect(decideAction([track, blockLongMatches, allow], measured())).toBe('block');
  });

  it('without a rule that holds, allows', () => {
    const never: Policy = {
      rules: [{ when: [{ of: 'confidence', relation: 'lessThan', value: 0 }], action: 'block' }],
    };
    expect(decideAction([never], measured())).toBe('allow');
  });
});
