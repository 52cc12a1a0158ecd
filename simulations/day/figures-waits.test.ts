import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { logOf, planOf, ranOnce, type Told } from './figures-fixture.ts';
import { fairness, jobWaits, waitFigures } from './figures-waits.ts';

describe('waits', () => {
  test('a job that has not ended at the close waited until then', () => {
    const plan = planOf({ jobs: [{ id: 'j', atMs: 1_000 }] });
    const log = logOf(plan, [{ atMs: 1_000, tell: 'accepted', job: 'j' }], 50_000);
    expect(jobWaits(log).map(({ waitMs }) => waitMs)).toEqual([49_000]);
  });

  test('percentiles never cross, whatever the waits', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 1e9 })), (waits) => {
        const { p50Ms, p95Ms, p99Ms, maxMs, meanMs } = waitFigures(waits);
        expect([p50Ms, p95Ms, p99Ms, maxMs]).toEqual([p50Ms, p95Ms, p99Ms, maxMs].sort((a, b) => a - b));
        expect(meanMs).toBeLessThanOrEqual(maxMs);
      }),
    );
  });
});

describe('fairness', () => {
  const waitsOf = (byCustomer: Record<string, number>) => {
    const names = Object.keys(byCustomer);
    const plan = planOf({
      jobs: names.map((customer) => ({ id: customer, customer })),
      machines: names.map((id) => ({ id })),
    });
    const told: Told[] = names.flatMap((name) => [
      { atMs: 0, tell: 'up', machine: name },
      ...ranOnce(name, name, { atMs: 0, claimedMs: byCustomer[name]!, endMs: byCustomer[name]! + 1_000 }),
    ]);
    return jobWaits(logOf(plan, told, 1e6));
  };

  test('is 1 where all wait alike, and where nobody waits', () => {
    expect(fairness(waitsOf({ ann: 500, bob: 500 }))).toBeCloseTo(1, 9);
    expect(fairness(waitsOf({ ann: 0, bob: 0 }))).toBe(1);
    expect(fairness([])).toBe(1);
  });

  test('is 1/n where one of n waits alone', () => {
    expect(fairness(waitsOf({ ann: 500, bob: 0, cyd: 0, dan: 0 }))).toBeCloseTo(0.25, 9);
  });
});
