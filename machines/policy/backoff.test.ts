import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { seededRng } from '#simulations/seeded-rng.ts';
import { backoffMs } from './backoff.ts';

describe('backoff', () => {
  test('is a whole number between 0 and the doubled base, never over the limit', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: -3, max: 50 }),
        fc.nat(100_000),
        fc.nat(1_000_000),
        fc.nat(),
        (attempt, baseMs, limitMs, seed) => {
          const delayMs = backoffMs(attempt, { baseMs, limitMs }, seededRng(seed));
          expect(Number.isInteger(delayMs)).toBe(true);
          expect(delayMs).toBeGreaterThanOrEqual(0);
          expect(delayMs).toBeLessThanOrEqual(Math.min(limitMs, baseMs * 2 ** (Math.max(attempt, 1) - 1)));
        },
      ),
    );
  });

  test('a number of attempts beyond any double stays within the limit', () => {
    expect(backoffMs(5_000, { baseMs: 0, limitMs: 10 }, seededRng(1))).toBe(0);
    expect(backoffMs(5_000, { baseMs: 1_000, limitMs: 10 }, seededRng(1))).toBeLessThanOrEqual(10);
  });

  test('fills its range: fifty jobs that fail together do not return together', () => {
    const rng = seededRng(1);
    const delays = Array.from({ length: 200 }, () => backoffMs(3, { baseMs: 1_000, limitMs: 60_000 }, rng));
    expect(Math.min(...delays)).toBeLessThan(400);
    expect(Math.max(...delays)).toBeGreaterThan(3_600);
    expect(new Set(delays).size).toBeGreaterThan(150);
  });
});
