import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { PlannedMachine } from '#simulations/day/plan.ts';
import { noticeMs, zombieStayMs } from '#simulations/reality/losses.ts';
import { orderDeadlineMs } from '#simulations/reality/start-up.ts';
import { seededRng } from '#simulations/seeded-rng.ts';
import { hourMs } from './arrivals.ts';
import { drawFleet, poolOfPlaces } from './plan-fleet.ts';
import { Scenario, type ScenarioInput } from './scenario.ts';
import { supplyOf } from './supply.ts';

const minute = 60_000;
const fleetOf = (fleet: ScenarioInput['fleet'], supply: Parameters<typeof drawFleet>[2] = null) =>
  drawFleet(seededRng(1), Scenario.parse({ name: 'fleet', fleet }), supply);
const calm = { lostPerHour: 0, earlyLossShare: 0, undeliveredShare: 0 };
/** Rentals of one place, in order. */
const byPlace = (machines: PlannedMachine[]) =>
  Map.groupBy(machines, (machine) => machine.id.replace(/-\d+$/, ''));
const running = (machines: PlannedMachine[], atMs: number) =>
  machines.filter((one) => one.startMs !== null && one.startMs <= atMs && one.endMs > atMs).length;

describe('pools of places', () => {
  test('ten places are 2, 5 and 3, and every fleet is within one of its shares', () => {
    const shares = { 'fast-lane': 0.2, standard: 0.5, heavy: 0.3 };
    const pools = poolOfPlaces(shares, 200);
    for (let size = 1; size <= 200; size++) {
      for (const pool of ['fast-lane', 'standard', 'heavy'] as const) {
        const count = pools.slice(0, size).filter((one) => one === pool).length;
        expect(Math.abs(count - size * shares[pool])).toBeLessThanOrEqual(1);
      }
    }
    expect(pools.slice(0, 10).filter((one) => one === 'standard')).toHaveLength(5);
  });

  test('a pool with no share gets no place', () => {
    const parts = fc.tuple(fc.nat(100), fc.nat(100), fc.integer({ min: 1, max: 100 }));
    fc.assert(
      fc.property(parts, fc.nat(60), ([fast, standard, heavy], places) => {
        const pools = poolOfPlaces({ 'fast-lane': fast, standard, heavy }, places);
        expect(pools).toHaveLength(places);
        if (fast === 0) expect(pools).not.toContain('fast-lane');
        if (standard === 0) expect(pools).not.toContain('standard');
      }),
    );
  });
});

describe('a fleet', () => {
  test('where nothing goes wrong, exactly the machines wanted run, once those ordered have started', () => {
    const { machines, wanted } = fleetOf({ ...calm, leadMinutes: 80 });
    const highestMs = wanted.find((step) => step.machines === 50)!.atMs;
    for (const { atMs, machines: count } of wanted) {
      const now = running(machines, atMs);
      // On the way up some have started before they are wanted.
      if (atMs >= highestMs) expect(now).toBe(count);
      else expect(now).toBeGreaterThanOrEqual(count);
    }
    expect(machines.every((one) => one.startMs !== null && one.ending !== 'lost')).toBe(true);
  });

  test('what is wanted as the day begins runs already; the rest is ordered ahead and starts like SALAD', () => {
    const { machines } = fleetOf({ ...calm, leadMinutes: 10 });
    const first = machines.filter((one) => one.askedMs === 0);
    expect(first).toHaveLength(10);
    expect(first.every((one) => one.startMs === 0)).toBe(true);
    const delays = machines.flatMap((one) => (one.askedMs > 0 ? [one.startMs! - one.askedMs] : []));
    expect(delays).toHaveLength(40);
    expect(Math.min(...delays)).toBeGreaterThanOrEqual(3 * minute);
    expect(Math.max(...delays)).toBeLessThanOrEqual(80 * minute);
  });

  test('the start delays of many orders have the published quantiles', () => {
    const { machines } = fleetOf({
      ...calm,
      wanted: [
        { atHour: 0, machines: 0 },
        { atHour: 1, machines: 0 },
        { atHour: 1.01, machines: 2_000 },
      ],
    });
    const delays = machines.map((one) => (one.startMs! - one.askedMs) / minute).sort((a, b) => a - b);
    const at = (share: number) => delays[Math.floor(share * delays.length)]!;
    expect(delays).toHaveLength(2_000);
    expect(at(0.5)).toBeCloseTo(10, -0.5);
    expect(at(0.8) / 20).toBeCloseTo(1, 0.7);
    expect(at(0.9) / 40).toBeCloseTo(1, 0.5);
  });

  test('a lost machine is replaced by another one after a minute, under a name of its own', () => {
    const { machines, incidents } = fleetOf({ lostPerHour: 0.5, undeliveredShare: 0 });
    const lost = machines.filter((one) => one.ending === 'lost');
    expect(lost.length).toBeGreaterThan(100);
    for (const rentals of byPlace(machines).values()) {
      for (const [index, one] of rentals.entries()) {
        const next = rentals[index + 1];
        if (one.ending === 'lost' && next !== undefined && next.askedMs < one.endMs + hourMs) {
          expect(next.askedMs).toBe(one.endMs + noticeMs);
          expect(next.downBytesPerMs).not.toBe(one.downBytesPerMs);
        }
        if (next !== undefined)
          expect(next.askedMs).toBeGreaterThanOrEqual(Math.min(one.endMs, next.askedMs));
      }
    }
    const told = incidents.filter((one) => one.kind === 'lost').map((one) => one.what);
    expect(told.toSorted()).toEqual(lost.map((one) => one.id).toSorted());
  });

  test('zombies come back within the day, beside what replaced them, and nothing else differs', () => {
    const fleet = { lostPerHour: 0.5, undeliveredShare: 0 };
    const plain = fleetOf(fleet);
    const haunted = fleetOf({ ...fleet, zombieShare: 0.5, zombieAwayMinutes: 30 });
    const zombies = haunted.machines.filter((one) => one.away !== null);
    const lost = plain.machines.filter((one) => one.ending === 'lost');
    expect(zombies.length / lost.length).toBeCloseTo(0.5, 0.7);
    for (const { away, startMs, endMs } of zombies) {
      expect(away?.fromMs).toBeGreaterThan(startMs ?? Infinity);
      expect(away?.untilMs).toBeLessThan(24 * hourMs);
      expect(endMs).toBe((away?.untilMs ?? 0) + zombieStayMs);
    }
    const mortal = haunted.machines.map((one) => ({
      ...one,
      endMs: one.away?.fromMs ?? one.endMs,
      away: null,
    }));
    expect(mortal).toEqual(plain.machines);
    expect(haunted.incidents.filter(({ kind }) => kind === 'back')).toHaveLength(zombies.length);
  });

  test('losses are about as many as the hazards say', () => {
    const wanted = [{ atHour: 0, machines: 1_000 }];
    const { machines } = fleetOf({ wanted, lostPerHour: 0.02, earlyLossShare: 0, undeliveredShare: 0 });
    const hours = machines.reduce((sum, one) => sum + (one.endMs - (one.startMs ?? 0)) / hourMs, 0);
    const lost = machines.filter((one) => one.ending === 'lost').length;
    expect(lost / hours / 0.02).toBeCloseTo(1, 0.7);
  });

  test('an order that is never filled ends after its deadline and is placed again', () => {
    const { machines, incidents } = fleetOf({ ...calm, undeliveredShare: 0.5 });
    const never = machines.filter((one) => one.startMs === null);
    expect(never.length).toBeGreaterThan(5);
    for (const one of never) expect(one.endMs - one.askedMs).toBe(orderDeadlineMs);
    const told = incidents.filter((one) => one.kind === 'not delivered');
    expect(told.map((one) => one.what).toSorted()).toEqual(never.map((one) => one.id).toSorted());
    expect(machines.length).toBeGreaterThan(50);
  });

  test('as the fleet shrinks machines are told to drain, and the last ordered go first', () => {
    const { machines, incidents } = fleetOf({ ...calm, drainMinutes: 7 });
    const gone = machines.filter((one) => one.ending === 'scale-in');
    expect(gone).toHaveLength(40);
    expect(machines.every((one) => one.drainMs === 7 * minute)).toBe(true);
    expect(machines.filter((one) => one.askedMs === 0).every((one) => one.ending === 'stays')).toBe(true);
    expect(incidents.filter((one) => one.kind === 'scale-in')).toHaveLength(40);
  });

  test('spares are ordered on top', () => {
    const { wanted } = fleetOf({ ...calm, spareShare: 0.1 });
    expect(Math.max(...wanted.map((one) => one.machines))).toBe(55);
  });

  test('a fleet that comes, goes and comes again fills its places anew', () => {
    const points = [4, 0, 4].map((machines, index) => ({ atHour: index * 8, machines }));
    const { machines } = fleetOf({ ...calm, wanted: points, stepMinutes: 60 });
    expect(running(machines, 8 * hourMs)).toBe(0);
    expect([...byPlace(machines).values()].map((rentals) => rentals.length)).toEqual([2, 2, 2, 2]);
  });

  test('incidents are in order of time, the numbers wanted among them', () => {
    const { incidents, wanted } = fleetOf({});
    const times = incidents.map((one) => one.atMs);
    expect(times).toEqual([...times].sort((a, b) => a - b));
    expect(incidents.filter((one) => one.kind === 'wanted').map((one) => Number(one.what))).toEqual(
      wanted.map((one) => one.machines),
    );
  });
});

describe('a fleet on a supply from a trace', () => {
  const alive = [{ fromMs: 2 * hourMs, untilMs: 6 * hourMs }];

  test('machines run within the windows and are lost at their ends, whatever the hazards say', () => {
    const supply = supplyOf([{ lengthMs: 12 * hourMs, alive }], 0);
    const { machines } = fleetOf({ ...calm, lostPerHour: 60, wanted: [{ atHour: 0, machines: 5 }] }, supply);
    const started = machines.filter((one) => one.startMs !== null);
    expect(started.length).toBeGreaterThanOrEqual(10);
    for (const one of started) {
      const [from, until] = one.startMs! < 12 * hourMs ? [2, 6] : [14, 18];
      expect(one.startMs).toBeGreaterThanOrEqual(from * hourMs);
      expect(one.endMs).toBe(until * hourMs);
      expect(one.ending).toBe('lost');
    }
  });

  test('while no machine is to be had orders run out and are placed again', () => {
    const supply = supplyOf([{ lengthMs: 24 * hourMs, alive: [] }], 0);
    const { machines } = fleetOf({ ...calm, wanted: [{ atHour: 0, machines: 1 }] }, supply);
    expect(machines.length).toBeGreaterThan(10);
    expect(machines.every((one) => one.startMs === null)).toBe(true);
  });
});
