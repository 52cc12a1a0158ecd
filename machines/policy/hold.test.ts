import { expect, test } from 'vitest';
import { isWorthHolding, residualMs } from './hold.ts';

test('what is left of a run falls as it goes on, and grows again when it overruns', () => {
  const left = [0, 5_000, 10_000, 20_000].map((elapsedMs) => residualMs({ expectedMs: 10_000, elapsedMs }));
  expect(left).toEqual([10_000, 5_000, 3_000, 6_000]);
});

test('a lane is held where a holder could begin well before its model could be here', () => {
  const wayMs = 100_000;
  expect(isWorthHolding({ wayMs, startInMs: [] })).toBe(false);
  expect(isWorthHolding({ wayMs, startInMs: [500_000, 69_999] })).toBe(true);
  expect(isWorthHolding({ wayMs, startInMs: [70_000] })).toBe(false);
  expect(isWorthHolding({ wayMs: 0, startInMs: [0] })).toBe(false);
});
