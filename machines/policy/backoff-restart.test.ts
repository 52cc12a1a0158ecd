import { describe, expect, test } from 'vitest';
import { seededRng } from '#simulations/seeded-rng.ts';
import { failureWeight, restartSet, retryDelayMs, runsAgain } from './backoff-restart.ts';

const delays = { baseMs: 500, limitMs: 30_000 };

describe('waits between tries', () => {
  test('are uniform between zero and a doubling ceiling', () => {
    const rng = seededRng(1);
    for (const [attempt, ceilingMs] of [
      [1, 500],
      [2, 1_000],
      [3, 2_000],
      [7, 30_000],
      [60, 30_000],
    ] as const) {
      const drawn = Array.from({ length: 2_000 }, () => retryDelayMs(attempt, delays, rng));
      expect(Math.max(...drawn)).toBeLessThanOrEqual(ceilingMs);
      expect(Math.min(...drawn)).toBeLessThan(ceilingMs * 0.02);
      expect(Math.max(...drawn)).toBeGreaterThan(ceilingMs * 0.98);
      const mean = drawn.reduce((sum, delayMs) => sum + delayMs, 0) / drawn.length;
      expect(Math.abs(mean / ceilingMs - 0.5)).toBeLessThan(0.05);
    }
  });
});

describe('restarts', () => {
  test('a failed child takes with it whom the strategy says', () => {
    const ids = ['a', 'b', 'c'];
    expect(restartSet('one-for-one', ids, 'b')).toEqual(['b']);
    expect(restartSet('rest-for-one', ids, 'b')).toEqual(['b', 'c']);
    expect(restartSet('all-for-one', ids, 'b')).toEqual(ids);
    expect(restartSet('all-for-one', ids, 'x')).toEqual([]);
  });

  test('who runs again after which end', () => {
    expect(
      ['permanent', 'transient', 'temporary'].map((type) => [
        runsAgain(type as 'permanent', 'failed'),
        runsAgain(type as 'permanent', 'finished'),
      ]),
    ).toEqual([
      [true, true],
      [true, false],
      [false, false],
    ]);
  });

  test('a failure to start weighs twice a failure at work', () => {
    expect(failureWeight('init')).toBe(2 * failureWeight('run'));
  });
});
