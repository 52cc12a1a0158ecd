import { describe, expect, test } from 'vitest';
import { choosePool, defaultPools } from './pool-choice.ts';

const choose = (expectedMs: number, capable: string[] = [], requested: string | null = null) =>
  choosePool({ requested, expectedMs, ranges: defaultPools, capable: new Set(capable) });

describe('pool choice', () => {
  test('the expected duration chooses, limits included', () => {
    expect([1, 10_000, 10_001, 120_000, 120_001, 9e9].map((ms) => choose(ms))).toEqual([
      'fast-lane',
      'fast-lane',
      'standard',
      'standard',
      'heavy',
      'heavy',
    ]);
  });

  test('a pool asked for is taken, also one that nobody has', () => {
    expect(choose(1, ['heavy'], 'mine')).toBe('mine');
  });

  test('where no machine of the natural pool can run it, the nearest that can is chosen, the longer first', () => {
    expect(choose(1, ['heavy', 'standard'])).toBe('standard');
    expect(choose(60_000, ['fast-lane', 'heavy'])).toBe('heavy');
    expect(choose(9e6, ['fast-lane'])).toBe('fast-lane');
  });

  test('a pool outside the configured ones is taken only when nothing else can run it', () => {
    expect(choose(1, ['lab', 'heavy'])).toBe('heavy');
    expect(choose(1, ['lab', 'attic'])).toBe('attic');
  });

  test('no configured pool at all is an error', () => {
    expect(() => choosePool({ requested: null, expectedMs: 1, ranges: [], capable: new Set() })).toThrow(
      RangeError,
    );
  });
});
