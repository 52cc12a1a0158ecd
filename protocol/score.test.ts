import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { claimRank, fairTags, priorityBoostMs } from './score.ts';

const ms = fc.integer({ min: -1_000_000_000, max: 1_000_000_000 });
const spanMs = fc.nat(1_000_000_000);

describe('priority boost', () => {
  test('is nothing at 50, the whole setting at 100, and its negative at 0', () => {
    const boosts = [0, 25, 50, 75, 100].map((priority) =>
      priorityBoostMs(priority, { priorityBoostMs: 600_000 }),
    );
    expect(boosts).toEqual([-600_000, -300_000, 0, 300_000, 600_000]);
  });

  test('never falls with a higher priority, and is a whole number whatever the setting', () => {
    fc.assert(
      fc.property(fc.nat(99), fc.nat(10_000_000), (priority, boostMs) => {
        const settings = { priorityBoostMs: boostMs };
        const [lower, higher] = [
          priorityBoostMs(priority, settings),
          priorityBoostMs(priority + 1, settings),
        ];
        expect(higher).toBeGreaterThanOrEqual(lower);
        expect(Number.isInteger(lower) && Math.abs(lower) <= boostMs).toBe(true);
      }),
    );
  });
});

describe('fair tags', () => {
  test('a job starts when its customer’s last one ends, but not before the clock of its pool', () => {
    expect(fairTags({ virtualMs: 100, finishMs: 700, costMs: 50 })).toEqual({ startMs: 700, finishMs: 750 });
    expect(fairTags({ virtualMs: 900, finishMs: 700, costMs: 50 })).toEqual({ startMs: 900, finishMs: 950 });
  });

  test('the backlog of a customer is charged in full: n jobs end n costs after the first began', () => {
    fc.assert(
      fc.property(
        ms,
        fc.array(fc.integer({ min: 1, max: 600_000 }), { minLength: 1, maxLength: 50 }),
        (virtualMs, costs) => {
          let finishMs = Number.NEGATIVE_INFINITY;
          for (const costMs of costs) finishMs = fairTags({ virtualMs, finishMs, costMs }).finishMs;
          expect(finishMs).toBe(virtualMs + costs.reduce((sum, cost) => sum + cost, 0));
        },
      ),
    );
  });

  test('of two customers with work, neither is served more than one job ahead of its share', () => {
    const costs = { a: 3_000, b: 1_000 };
    const finish = { a: 0, b: 0 };
    const queue = (['a', 'b'] as const).flatMap((customer) =>
      Array.from({ length: 60 }, () => {
        const tags = fairTags({ virtualMs: 0, finishMs: finish[customer], costMs: costs[customer] });
        finish[customer] = tags.finishMs;
        return { customer, startMs: tags.startMs };
      }),
    );
    queue.sort((x, y) => x.startMs - y.startMs);
    const served = { a: 0, b: 0 };
    for (const { customer } of queue.slice(0, 60)) {
      served[customer] += costs[customer];
      expect(Math.abs(served.a - served.b)).toBeLessThanOrEqual(costs.a);
    }
  });
});

describe('claim rank', () => {
  test('does not depend on how far the clock of a pool has come', () => {
    fc.assert(
      fc.property(ms, ms, spanMs, spanMs, ms, (headScoreMs, standMs, penaltyMs, bonusMs, shiftMs) => {
        const rank = claimRank({ headScoreMs, standMs, penaltyMs, bonusMs });
        const shifted = {
          headScoreMs: headScoreMs + shiftMs,
          standMs: standMs + shiftMs,
          penaltyMs,
          bonusMs,
        };
        expect(claimRank(shifted)).toBe(rank);
      }),
    );
  });

  test('a bonus and a penalty of equal size leave it as it is', () => {
    fc.assert(
      fc.property(ms, ms, spanMs, (headScoreMs, standMs, sizeMs) => {
        expect(claimRank({ headScoreMs, standMs, penaltyMs: sizeMs, bonusMs: sizeMs })).toBe(
          headScoreMs - standMs,
        );
      }),
    );
  });

  test('a warm lane is preferred by its bonus exactly', () => {
    const cold = claimRank({ headScoreMs: 0, standMs: 0, penaltyMs: 0, bonusMs: 0 });
    const warm = (headScoreMs: number) =>
      claimRank({ headScoreMs, standMs: 0, penaltyMs: 0, bonusMs: 30_000 });
    expect([warm(29_999) < cold, warm(30_000) === cold, warm(30_001) > cold]).toEqual([true, true, true]);
  });
});
