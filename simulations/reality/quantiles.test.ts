import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { seededRng } from '#simulations/seeded-rng.ts';
import { type Anchor, atShare, leaning } from './quantiles.ts';

const anchors: Anchor[] = [
  [0.1, 10],
  [0.5, 100],
  [0.9, 1_000],
];

describe('quantiles', () => {
  test('published quantiles are met, the ends are held, the middle is straight in the logarithm', () => {
    expect(anchors.map(([share]) => atShare(anchors, share))).toEqual([10, 100, 1_000]);
    expect([atShare(anchors, 0), atShare(anchors, 1)]).toEqual([10, 1_000]);
    expect(atShare(anchors, 0.3)).toBeCloseTo(Math.sqrt(10 * 100), 6);
  });

  test('a higher share never gives a lower value', () => {
    const share = fc.double({ min: 0, max: 1, noNaN: true });
    fc.assert(
      fc.property(share, share, (a, b) => {
        const [low, high] = a < b ? [a, b] : [b, a];
        expect(atShare(anchors, low)).toBeLessThanOrEqual(atShare(anchors, high) + 1e-9);
      }),
    );
  });

  test('a leaning draw stays in its range, and leans to the short end the more the larger its lean', () => {
    const medianOf = (lean: number) => {
      const rng = seededRng('lean');
      const draws = Array.from({ length: 2_001 }, () => leaning(rng, { from: 20, to: 60, lean }));
      expect(draws.every((value) => value >= 20 && value < 60)).toBe(true);
      return draws.sort((a, b) => a - b)[1_000]!;
    };
    expect(medianOf(1)).toBeCloseTo(Math.sqrt(20 * 60), -0.5);
    expect(medianOf(2)).toBeLessThan(medianOf(1) - 5);
  });
});
