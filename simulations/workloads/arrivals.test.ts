import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { seededRng } from '#simulations/seeded-rng.ts';
import {
  drawArrivals,
  hourMs,
  type Shape,
  scenarioShape,
  shapeOf,
  shareAt,
  timeAt,
  wantedAt,
} from './arrivals.ts';
import { scenarioNamed } from './builtin-scenarios.ts';
import { dayWanted, Scenario } from './scenario.ts';

const day = scenarioShape(scenarioNamed('day')) as Shape;

/** Arrivals by hour of the day. */
function perHour(times: Iterable<number>): number[] {
  const hours = new Array<number>(24).fill(0);
  for (const atMs of times) hours[Math.floor(atMs / hourMs)]! += 1;
  return hours;
}

describe('machines wanted', () => {
  test('straight lines between the points, the last one held', () => {
    expect([0, 4, 6, 12, 14.5, 24, 30].map((hour) => wantedAt(dayWanted, hour))).toEqual([
      10, 10, 15, 50, 50, 10, 10,
    ]);
    expect(wantedAt([{ atHour: 0, machines: 7 }], 3)).toBe(7);
  });
});

describe('arrivals', () => {
  test('the busiest hour of the day has 1.6 times the mean, the quietest a third of it', () => {
    const hours = perHour(drawArrivals(seededRng(1), 100_000, day));
    const mean = 100_000 / 24;
    expect(Math.max(...hours) / mean).toBeGreaterThan(1.5);
    expect(Math.max(...hours) / mean).toBeLessThan(1.75);
    expect(Math.min(...hours) / mean).toBeGreaterThan(0.27);
    expect(Math.min(...hours) / mean).toBeLessThan(0.37);
  });

  test('each hour has its share of the machines wanted', () => {
    const hours = perHour(drawArrivals(seededRng(2), 100_000, day));
    const wanted = hours.map((_, hour) => {
      const quarters = [0.125, 0.375, 0.625, 0.875].map((part) => wantedAt(dayWanted, hour + part));
      return quarters.reduce((sum, one) => sum + one, 0) / 4;
    });
    const total = wanted.reduce((sum, one) => sum + one, 0);
    for (const [hour, count] of hours.entries()) {
      expect(count / ((100_000 * wanted[hour]!) / total)).toBeCloseTo(1, 0.9);
    }
  });

  test('they come in order, as whole ms, within the span', () => {
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 0, max: 500 }), (seed, count) => {
        const times = [...drawArrivals(seededRng(seed), count, day)];
        expect(times).toHaveLength(count);
        expect(times).toEqual([...times].sort((a, b) => a - b));
        expect(times.every((atMs) => Number.isInteger(atMs) && atMs >= 0 && atMs < day.spanMs)).toBe(true);
      }),
      { numRuns: 30 },
    );
  });

  test('a flat shape has no busy hour', () => {
    const flat = scenarioShape(Scenario.parse({ name: 'flat', jobs: { shape: 'flat' } })) as Shape;
    const hours = perHour(drawArrivals(seededRng(3), 48_000, flat));
    expect(Math.max(...hours) / Math.min(...hours)).toBeLessThan(1.15);
  });

  test('nothing arrives while no machine is wanted', () => {
    const wanted = [
      { atHour: 0, machines: 0 },
      { atHour: 12, machines: 0 },
      { atHour: 12.01, machines: 5 },
      { atHour: 24, machines: 5 },
    ];
    const shape = scenarioShape(Scenario.parse({ name: 'a', fleet: { wanted } })) as Shape;
    expect(drawArrivals(seededRng(4), 10_000, shape)[0]).toBeGreaterThanOrEqual(12 * hourMs);
  });

  test('a density that is nowhere above 0 is no shape', () => {
    expect(shapeOf(1_000, () => 0)).toBeNull();
    expect(shapeOf(1_000, () => -1)).toBeNull();
  });

  test('the time of a share and the share at a time undo each other, and never run backwards', () => {
    const share = fc.double({ min: 0, max: 1, noNaN: true });
    fc.assert(
      fc.property(share, share, (a, b) => {
        expect(shareAt(day, timeAt(day, a))).toBeCloseTo(a, 6);
        const [low, high] = a < b ? [a, b] : [b, a];
        expect(timeAt(day, low)).toBeLessThanOrEqual(timeAt(day, high));
        expect(shareAt(day, low * day.spanMs)).toBeLessThanOrEqual(shareAt(day, high * day.spanMs) + 1e-12);
      }),
    );
    expect([shareAt(day, -5), shareAt(day, day.spanMs + 5)]).toEqual([0, 1]);
  });
});
