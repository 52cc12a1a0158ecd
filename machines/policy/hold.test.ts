import { expect, test } from 'vitest';
import { isWorthHolding, residualMs } from './hold.ts';

test('what is left of a run falls as it goes on, and grows again when it overruns', () => {
  const left = [0, 5_000, 10_000, 20_000].map((elapsedMs) => residualMs({ expectedMs: 10_000, elapsedMs }));
  expect(left).toEqual([10_000, 5_000, 3_000, 6_000]);
});

test('a lane is held where a holder is free well before its model could be here', () => {
  const lane = { wayMs: 100_000, waiting: 1, expectedMs: 10_000 };
  expect(isWorthHolding({ ...lane, freeInMs: [] })).toBe(false);
  expect(isWorthHolding({ ...lane, freeInMs: [69_999, 500_000] })).toBe(true);
  expect(isWorthHolding({ ...lane, freeInMs: [70_000] })).toBe(false);
  expect(isWorthHolding({ ...lane, wayMs: 0, freeInMs: [0] })).toBe(false);
});

test('what waits before counts, shared by all that have the model', () => {
  const lane = { wayMs: 100_000, expectedMs: 10_000, waiting: 8 };
  expect(isWorthHolding({ ...lane, freeInMs: [0] })).toBe(false);
  expect(isWorthHolding({ ...lane, freeInMs: [0, 60_000] })).toBe(true);
});
