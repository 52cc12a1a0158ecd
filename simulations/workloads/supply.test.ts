import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Lane, supplyOf } from './supply.ts';

const lane: Lane = {
  lengthMs: 100,
  alive: [
    { fromMs: 10, untilMs: 30 },
    { fromMs: 60, untilMs: 90 },
  ],
};

describe('supply', () => {
  test('an open window is told with its end, else the next one; after the last the trace begins anew', () => {
    const { window } = supplyOf([lane], 0);
    expect(window(0, 20)).toEqual({ fromMs: 10, untilMs: 30 });
    expect(window(0, 30)).toEqual({ fromMs: 60, untilMs: 90 });
    expect(window(0, 95)).toEqual({ fromMs: 110, untilMs: 130 });
    expect(window(0, 265)).toEqual({ fromMs: 260, untilMs: 290 });
  });

  test('the day begins at the offset in the trace', () => {
    expect(supplyOf([lane], 15).window(0, 0)).toEqual({ fromMs: -5, untilMs: 15 });
    expect(supplyOf([lane], 95).window(0, 0)).toEqual({ fromMs: 15, untilMs: 35 });
  });

  test('places take lanes in turns; a lane that never lives delivers nothing', () => {
    const { window } = supplyOf([lane, { lengthMs: 100, alive: [] }], 0);
    expect(window(2, 0)).toEqual(window(0, 0));
    expect(window(1, 0)).toEqual({ fromMs: Infinity, untilMs: Infinity });
  });

  test('a window always ends after the time asked, and is the first that does', () => {
    fc.assert(
      fc.property(fc.nat(1_000), fc.nat(99), (atMs, offsetMs) => {
        const { fromMs, untilMs } = supplyOf([lane], offsetMs).window(0, atMs);
        expect(untilMs).toBeGreaterThan(atMs);
        // The longest gap is 40: nobody waits longer.
        expect(fromMs - atMs).toBeLessThanOrEqual(40);
      }),
    );
  });
});
