import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { linearScale, logTimeScale, roundStep } from './chart-scale.ts';

describe('linearScale', () => {
  test('ends at a round number and marks round numbers', () => {
    const { place, ticks } = linearScale(
      { from: 0, to: 37, unit: 'number', ticks: 4 },
      { start: 100, end: 0 },
    );
    expect(ticks).toEqual([0, 10, 20, 30, 40]);
    expect([place(0), place(40), place(20)]).toEqual([100, 0, 50]);
  });

  test('counts times in seconds, minutes and hours', () => {
    const hour = 3_600_000;
    const { ticks } = linearScale(
      { from: 0, to: 24 * hour, unit: 'time', ticks: 5, exact: true },
      { start: 0, end: 1 },
    );
    expect(ticks).toEqual([0, 6, 12, 18, 24].map((n) => n * hour));
    expect(roundStep(100_000, 4, 'time')).toBe(30_000);
  });

  test('half a machine is no mark', () => {
    expect(linearScale({ from: 0, to: 1, unit: 'count', ticks: 4 }, { start: 0, end: 1 }).ticks).toEqual([
      0, 1,
    ]);
  });

  test('a figure that is nowhere above 0 still has an axis', () => {
    const { place, ticks } = linearScale({ from: 0, to: 0, unit: 'number', ticks: 4 }, { start: 0, end: 10 });
    expect(place(0)).toBe(0);
    expect(ticks.length).toBeGreaterThan(1);
  });

  test('marks stay few and places inside, whatever the values', () => {
    fc.assert(
      fc.property(
        fc.double({ min: 1e-6, max: 1e15, noNaN: true }),
        fc.constantFrom('number', 'time', 'count'),
        (to, unit) => {
          const { place, ticks } = linearScale(
            { from: 0, to, unit: unit as 'number', ticks: 4 },
            { start: 0, end: 100 },
          );
          expect(ticks.length).toBeGreaterThanOrEqual(1);
          expect(ticks.length).toBeLessThanOrEqual(6);
          expect(place(to)).toBeLessThanOrEqual(100);
          expect(place(to / 2)).toBeGreaterThanOrEqual(0);
        },
      ),
    );
  });
});

describe('logTimeScale', () => {
  test('spans whole decades around the values', () => {
    const { place, ticks } = logTimeScale({ from: 100, to: 50_000 }, { start: 0, end: 90 });
    expect(ticks).toEqual([100, 1_000, 10_000, 60_000]);
    expect([place(100), place(60_000)]).toEqual([0, 90]);
  });

  test('what is below the axis sits at its start, what is above at its end', () => {
    const { place } = logTimeScale({ from: 100, to: 1_000 }, { start: 10, end: 20 });
    expect([place(0), place(1e12)]).toEqual([10, 20]);
  });
});
