import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { giveUpAfterMs, startLeftMs, startQuantile, startSamples } from './autoscale-lead.ts';

const minute = 60_000;
const curve = [3, 6, 10, 16, 40].map((minutes) => minutes * minute);

describe('start-ups', () => {
  test('what is assumed counts until ten were seen', () => {
    const nine = Array.from({ length: 9 }, () => minute);
    expect(startSamples({ observedMs: nine, priorMs: curve })).toEqual([...nine, ...curve]);
    const ten = [...nine, 2 * minute];
    expect(startSamples({ observedMs: ten, priorMs: curve })).toEqual(ten);
  });

  test('quantiles are samples; of none they are 0', () => {
    expect([0, 0.5, 0.9, 1].map((share) => startQuantile(curve, share) / minute)).toEqual([3, 10, 40, 40]);
    expect(startQuantile([], 0.5)).toBe(0);
  });

  test('an order is expected as those that took longer than it did', () => {
    expect(startLeftMs(curve, 0)).toBe(10 * minute);
    // 16 and 40 min are left: the lower of the two.
    expect(startLeftMs(curve, 12 * minute)).toBe(4 * minute);
    expect(startLeftMs(curve, 40 * minute)).toBe(Number.POSITIVE_INFINITY);
    expect(startLeftMs([], 0)).toBe(Number.POSITIVE_INFINITY);
  });

  test('an order that has not started is never expected in the past', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 1e7 })), fc.nat(1e7), (samples, ageMs) => {
        expect(startLeftMs(startSamples({ observedMs: samples, priorMs: curve }), ageMs)).toBeGreaterThan(0);
      }),
    );
  });

  test('orders are believed for twice what nine of ten take, between 10 and 80 minutes', () => {
    expect(giveUpAfterMs([15 * minute])).toBe(30 * minute);
    expect(giveUpAfterMs([minute])).toBe(10 * minute);
    expect(giveUpAfterMs([70 * minute])).toBe(80 * minute);
    expect(giveUpAfterMs([])).toBe(10 * minute);
  });
});
