import { expect, test } from 'vitest';
import type { Log } from '#protocol/env.ts';
import { systemEnv } from './env.ts';

const silent = () => {};
const log: Log = { debug: silent, info: silent, warn: silent, error: silent, child: () => log };
const { rng, newId } = systemEnv(log);

test('draws lie in [0, 1), do not repeat over several pages of random bytes, and have no lean', () => {
  const draws = Array.from({ length: 20_000 }, () => rng.next());
  expect(Math.min(...draws)).toBeGreaterThanOrEqual(0);
  expect(Math.max(...draws)).toBeLessThan(1);
  expect(new Set(draws).size).toBe(draws.length);
  // Twenty standard deviations of the mean of uniform draws.
  expect(Math.abs(draws.reduce((sum, draw) => sum + draw, 0) / draws.length - 0.5)).toBeLessThan(0.041);
});

test('ids rise in time and do not repeat', () => {
  const ids = Array.from({ length: 10_000 }, () => newId('job'));
  expect(new Set(ids).size).toBe(ids.length);
  expect([...ids].sort()).toEqual(ids);
});
