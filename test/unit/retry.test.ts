import { describe, expect, it } from 'vitest';
import { isNetworkError, withRetries } from '../../functions/adapters/aws/retry.ts';

const QUICK = { budgetMs: 1000, baseMs: 1, capMs: 5 };

/** Fails so many times, then succeeds. */
function failing(times: number, error: unknown = new Error('busy')) {
  const calls = { count: 0 };
  const work = async () => {
    if (calls.count++ < times) throw error;
    return 'done';
  };
  return { work, calls };
}

describe('withRetries', () => {
  it('goes on until the work succeeds', async () => {
    const { work, calls } = failing(5);

    const result = await withRetries(work, () => true, QUICK);

    expect(result).toBe('done');
    expect(calls.count).toBe(6);
  });

  it('does not repeat what is not transient', async () => {
    const { work, calls } = failing(5);

    await expect(withRetries(work, () => false, QUICK)).rejects.toThrow('busy');
    expect(calls.count).toBe(1);
  });

  it('throws the last error when the budget is spent', async () => {
    const { work } = failing(Number.POSITIVE_INFINITY);
    const startedAt = performance.now();

    await expect(withRetries(work, () => true, { budgetMs: 60, baseMs: 10, capMs: 20 })).rejects.toThrow(
      'busy',
    );

    expect(performance.now() - startedAt).toBeLessThan(500);
  });

  it('tries once even when no time is left', async () => {
    const { work, calls } = failing(1);

    await expect(withRetries(work, () => true, { ...QUICK, budgetMs: -5000 })).rejects.toThrow('busy');
    expect(calls.count).toBe(1);
  });
});

describe('isNetworkError', () => {
  it.each([
    ['a refused connection', Object.assign(new Error('refused'), { code: 'ECONNREFUSED' }), true],
    ['a time-out of the SDK', Object.assign(new Error('slow'), { name: 'TimeoutError' }), true],
    ['a mistake in a program', new TypeError('x is not a function'), false],
    ['something that is not an error', 'ECONNRESET', false],
  ])('knows %s', (_, error, expected) => {
    expect(isNetworkError(error)).toBe(expected);
  });
});
