import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { pick, seededRng } from './seeded-rng.ts';

const draws = (seed: number | string, count = 20) => {
  const rng = seededRng(seed);
  return Array.from({ length: count }, () => rng.next());
};

describe('seeded rng', () => {
  test('equal seeds give equal streams, near seeds unrelated ones', () => {
    expect(draws(7)).toEqual(draws(7));
    expect(draws(7)).toEqual(draws('7'));
    expect(draws(8).filter((value) => draws(7).includes(value))).toEqual([]);
  });

  test('a fork does not depend on what was drawn before it', () => {
    const quiet = seededRng(1).fork('faults');
    const busy = seededRng(1);
    for (let i = 0; i < 1_000; i++) busy.next();
    busy.fork('other').next();
    const fork = busy.fork('faults');
    expect([fork.next(), fork.next()]).toEqual([quiet.next(), quiet.next()]);
  });

  test('forks of other names, other parents, or the same name again differ', () => {
    const rng = seededRng(1);
    const first = [
      rng.fork('a'),
      rng.fork('b'),
      rng.fork('a'),
      rng.fork('a').fork('b'),
      rng.fork('a/b'),
      rng.fork('a//b'),
    ];
    expect(new Set(first.map((fork) => fork.next())).size).toBe(first.length);
  });

  test('integers stay in their range, both ends included', () => {
    fc.assert(
      fc.property(fc.nat(), fc.integer(), fc.nat(1_000), (seed, min, span) => {
        const rng = seededRng(seed);
        const max = min + span;
        for (let i = 0; i < 20; i++) {
          const value = rng.int(min, max);
          expect(Number.isSafeInteger(value) && value >= min && value <= max).toBe(true);
        }
      }),
      { numRuns: 50 },
    );
    const rng = seededRng(3);
    const seen = new Set(Array.from({ length: 200 }, () => rng.int(1, 3)));
    expect([...seen].sort()).toEqual([1, 2, 3]);
  });

  test('an empty, fractional or unsafe range is refused', () => {
    const rng = seededRng(1);
    expect(() => rng.int(2, 1)).toThrow(RangeError);
    expect(() => rng.int(0.5, 1)).toThrow(RangeError);
    expect(() => rng.int(0, Number.MAX_VALUE)).toThrow(RangeError);
    expect(() => pick(rng, [])).toThrow('nothing to pick');
  });

  test('draws are spread evenly', () => {
    const rng = seededRng('spread');
    const buckets = new Array<number>(16).fill(0);
    for (let i = 0; i < 16_000; i++) buckets[Math.floor(rng.next() * 16)]!++;
    // Chi-square with 15 degrees of freedom: 37.7 is passed once in a thousand; the seed is fixed.
    const chiSquare = buckets.reduce((sum, count) => sum + (count - 1_000) ** 2 / 1_000, 0);
    expect(chiSquare).toBeLessThan(37.7);
  });
});
