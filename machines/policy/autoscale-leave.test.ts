import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type LeaveCandidate, progressLostMs, whoLeaves } from './autoscale-leave.ts';

const drainMs = 600_000;
const machine = (machineId: string, rest: Partial<LeaveCandidate> = {}): LeaveCandidate => ({
  machineId,
  runs: [],
  residencyMs: 0,
  ...rest,
});
const leave = (
  surplus: number,
  machines: LeaveCandidate[],
  starting: { id: string; askedMs: number }[] = [],
) => whoLeaves({ surplus, machines, starting, drainMs });
const run = (ranMs: number, leftMs: number) => ({ runs: [{ ranMs, leftMs }] });

describe('who leaves', () => {
  test('nobody where nothing is too many', () => {
    expect(leave(0, [machine('a')], [{ id: 'o', askedMs: 0 }])).toEqual({ withdraw: [], drain: [] });
    expect(leave(-3, [machine('a')])).toEqual({ withdraw: [], drain: [] });
  });

  test('orders before machines, the youngest first', () => {
    const starting = [
      { id: 'old', askedMs: 1 },
      { id: 'young', askedMs: 9 },
      { id: 'middle', askedMs: 5 },
    ];
    expect(leave(2, [machine('a')], starting)).toEqual({ withdraw: ['young', 'middle'], drain: [] });
    expect(leave(4, [machine('a')], starting)).toEqual({
      withdraw: ['young', 'middle', 'old'],
      drain: ['a'],
    });
  });

  test('idle before busy, whatever lies on its disk', () => {
    const idle = machine('idle', { residencyMs: 1e9 });
    expect(leave(1, [machine('busy', run(1, 1)), idle]).drain).toEqual(['idle']);
  });

  test('of busy ones those whose work ends within the drain, then the least progress lost', () => {
    const machines = [
      machine('half-done', run(900_000, 900_000)),
      machine('just-begun', run(10_000, 900_000)),
      machine('nearly-done', run(900_000, 60_000)),
    ];
    expect(leave(3, machines).drain).toEqual(['nearly-done', 'just-begun', 'half-done']);
  });

  test('of equal ones the one whose models are missed least, then by name', () => {
    const machines = [
      machine('b', { residencyMs: 5 }),
      machine('c', { residencyMs: 2 }),
      machine('a', { residencyMs: 5 }),
    ];
    expect(leave(3, machines).drain).toEqual(['c', 'a', 'b']);
  });

  test('a run that ends within the drain loses nothing', () => {
    expect(progressLostMs(machine('a', run(50, drainMs)), drainMs)).toBe(0);
    expect(progressLostMs(machine('a', run(50, drainMs + 1)), drainMs)).toBe(50);
  });
});

const candidates = fc.uniqueArray(
  fc.record({
    machineId: fc.string({ minLength: 1, maxLength: 4 }),
    runs: fc.array(fc.record({ ranMs: fc.nat(1e6), leftMs: fc.nat(2e6) }), { maxLength: 2 }),
    residencyMs: fc.nat(1e6),
  }),
  { selector: ({ machineId }) => machineId, maxLength: 20 },
);

test('as many leave as are too many, each once, in whatever order they stand, and no busy one before an idle one', () => {
  fc.assert(
    fc.property(candidates, fc.nat(25), (machines, surplus) => {
      const { drain } = leave(surplus, machines);
      expect(new Set(drain).size).toBe(Math.min(surplus, machines.length));
      expect(leave(surplus, machines.toReversed()).drain).toEqual(drain);
      const stays = machines.filter(({ machineId }) => !drain.includes(machineId));
      const busyLeaves = machines.some(({ machineId, runs }) => drain.includes(machineId) && runs.length > 0);
      if (busyLeaves) expect(stays.every(({ runs }) => runs.length > 0)).toBe(true);
    }),
  );
});
