import { describe, expect, test } from 'vitest';
import { interval } from './figures-intervals.ts';

describe('interval', () => {
  test('one seed has no width', () => {
    expect(interval([4])).toEqual({ mean: 4, halfWidth: 0, values: [4] });
  });

  test('five seeds use t of 4 degrees of freedom', () => {
    const { mean, halfWidth } = interval([1, 2, 3, 4, 5]);
    expect(mean).toBe(3);
    expect(halfWidth).toBeCloseTo(2.776 * Math.sqrt(2.5 / 5), 9);
  });

  test('beyond the table the factor lies between that of 30 and that of infinity', () => {
    const values = Array.from({ length: 41 }, (_, i) => i % 2);
    const factor = interval(values).halfWidth / Math.sqrt(0.25 / 40);
    expect(factor).toBeGreaterThan(2.02);
    expect(factor).toBeLessThan(2.042);
  });

  test('no seeds are refused', () => {
    expect(() => interval([])).toThrow(RangeError);
  });
});
