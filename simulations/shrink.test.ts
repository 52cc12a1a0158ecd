import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { shrink } from './shrink.ts';

describe('shrink', () => {
  test('what is left is exactly what the failure needs, in order', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 60 }),
        fc.uniqueArray(fc.nat(59), { minLength: 1, maxLength: 4 }),
        async (length, picks) => {
          const items = Array.from({ length }, (_, index) => index);
          const needed = [...new Set(picks.map((pick) => pick % length))].sort((a, b) => a - b);
          const fails = async (candidate: readonly number[]) =>
            needed.every((item) => candidate.includes(item));
          expect(await shrink(items, fails, 10_000)).toEqual(needed);
        },
      ),
      { numRuns: 50 },
    );
  });

  test('a failure that needs nothing leaves nothing', async () => {
    expect(await shrink([1, 2, 3, 4, 5], async () => true)).toEqual([]);
  });

  test('it stops at its limit with a list that still fails', async () => {
    let tries = 0;
    const fails = async (candidate: readonly number[]) => {
      tries++;
      return candidate.length >= 3;
    };
    const left = await shrink(
      Array.from({ length: 50 }, (_, index) => index),
      fails,
      3,
    );
    expect(tries).toBe(3);
    expect(left.length).toBeGreaterThanOrEqual(3);
  });
});
