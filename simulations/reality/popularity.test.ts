import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { coincidence, popularity, rankAt, shareOf, weighted, zipf } from './popularity.ts';

const published = [
  { rank: 1, share: 0.31 },
  { rank: 5, share: 0.7 },
  { rank: 10, share: 0.87 },
  { rank: 20, share: 0.94 },
  { rank: 87, share: 1 },
];

describe('popularity', () => {
  test('the published shares are met at their ranks, and all ranks together are everything', () => {
    const shares = popularity(105, published);
    for (const { rank, share } of published.slice(0, -1)) expect(shares[rank - 1]).toBeCloseTo(share, 9);
    expect(shares.at(-1)).toBe(1);
  });

  test('in a catalogue of any size the more popular is asked for more often, and nothing never', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 300 }), (count) => {
        const shares = popularity(count, published);
        expect(shares).toHaveLength(count);
        expect(shares.at(-1)).toBe(1);
        for (let index = 0; index < count; index++) {
          expect(shareOf(shares, index)).toBeGreaterThan(0);
          if (index > 0)
            expect(shareOf(shares, index)).toBeLessThanOrEqual(shareOf(shares, index - 1) + 1e-12);
        }
      }),
    );
  });

  test('a small catalogue keeps the proportions of the first ranks', () => {
    const small = popularity(8, published);
    const large = popularity(100, published);
    expect(shareOf(small, 0) / shareOf(small, 4)).toBeCloseTo(shareOf(large, 0) / shareOf(large, 4), 9);
  });

  test('the rank at a share is the one whose part of the whole holds it', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 0.001, max: 1, noNaN: true }), { minLength: 1, maxLength: 50 }),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (weights, share) => {
          const shares = weighted(weights);
          const rank = rankAt(shares, share);
          expect(shares[rank]!).toBeGreaterThan(share);
          expect(rank === 0 ? 0 : shares[rank - 1]!).toBeLessThanOrEqual(share);
        },
      ),
    );
  });

  test('two requests for one of four equals meet in a quarter of all cases', () => {
    expect(coincidence(weighted([1, 1, 1, 1]))).toBeCloseTo(0.25, 12);
    expect(coincidence(zipf(1, 1))).toBe(1);
  });

  test('by the law of Zipf with exponent 1 the second rank has half of the first', () => {
    const shares = zipf(20, 1);
    expect(shareOf(shares, 1)).toBeCloseTo(shareOf(shares, 0) / 2, 12);
  });
});
