import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { logOf, planOf, ranOnce, type Told } from './figures-fixture.ts';
import { preparingForModels, waitBesideIdleSlots } from './figures-idle.ts';

describe('download wait', () => {
  const up = (machine: string): Told => ({ atMs: 0, tell: 'up', machine });

  test('a job that waits while the only free slot is too small waits for capacity', () => {
    const plan = planOf({
      jobs: [{ id: 'big', vramMb: 24_000 }],
      machines: [{ id: 'small', vramMb: 8_000 }],
    });
    const log = logOf(plan, [up('small'), { atMs: 0, tell: 'accepted', job: 'big' }], 9_000);
    expect(waitBesideIdleSlots(log)).toBe(0);
  });

  test('a job that is held while a slot that fits is idle waits for a download', () => {
    const plan = planOf({ jobs: [{ id: 'j', vramMb: 8_000 }], machines: [{ id: 'm', vramMb: 8_000 }] });
    const told: Told[] = [
      up('m'),
      ...ranOnce('j', 'm', { atMs: 0, claimedMs: 4_000, readyMs: 4_500, endMs: 6_000 }),
    ];
    const log = logOf(plan, told, 9_000);
    expect([waitBesideIdleSlots(log), preparingForModels(log)]).toEqual([4_000, 500]);
  });

  test('a draining machine and one that is gone have no idle slot', () => {
    const plan = planOf({ jobs: [{ id: 'j' }], machines: [{ id: 'm' }, { id: 'n' }] });
    const told: Told[] = [
      up('m'),
      up('n'),
      { atMs: 1_000, tell: 'draining', machine: 'm' },
      { atMs: 1_500, tell: 'down', machine: 'n', as: 'lost' },
      { atMs: 500, tell: 'accepted', job: 'j' },
    ];
    expect(waitBesideIdleSlots(logOf(plan, told, 9_000))).toBe(1_000);
  });

  test('one of two slots that is free counts', () => {
    const plan = planOf({ jobs: [{ id: 'a', runMs: 8_000 }, { id: 'b' }], machines: [{ id: 'm' }] });
    const told: Told[] = [
      { atMs: 0, tell: 'up', machine: 'm', slots: 2 },
      ...ranOnce('a', 'm', { atMs: 0, claimedMs: 0, endMs: 8_000 }),
      ...ranOnce('b', 'm', { atMs: 3_000, claimedMs: 5_000, endMs: 6_000 }),
    ];
    expect(waitBesideIdleSlots(logOf(plan, told, 9_000))).toBe(2_000);
  });

  describe('a job that is staged behind another one', () => {
    const plan = planOf({
      jobs: [{ id: 'first' }, { id: 'staged' }],
      machines: [{ id: 'm' }, { id: 'n', startMs: 6_000 }],
    });
    const first = ranOnce('first', 'm', { atMs: 0, claimedMs: 0, endMs: 8_000 });
    const staged: Told[] = [
      { atMs: 1_000, tell: 'accepted', job: 'staged' },
      { atMs: 1_000, tell: 'claimed', job: 'staged', machine: 'm' },
    ];

    test('waits, and prepares only from when it has the slot', () => {
      const runs: Told[] = [
        { atMs: 8_500, tell: 'started', job: 'staged', machine: 'm' },
        { atMs: 9_500, tell: 'ranOut', job: 'staged', machine: 'm', outcome: 'succeeded' },
        { atMs: 9_500, tell: 'ended', job: 'staged', as: 'succeeded' },
      ];
      const log = logOf(plan, [up('m'), ...first, ...staged, ...runs], 10_000);
      expect([waitBesideIdleSlots(log), preparingForModels(log)]).toEqual([0, 500]);
    });

    test('with its models ready in time prepares for nothing', () => {
      const log = logOf(
        plan,
        [up('m'), ...first, ...staged, { atMs: 4_000, tell: 'ready', job: 'staged', machine: 'm' }],
        8_500,
      );
      expect(preparingForModels(log)).toBe(0);
    });

    test('waits beside a slot that is idle elsewhere', () => {
      const other: Told = { atMs: 6_000, tell: 'up', machine: 'n' };
      expect(waitBesideIdleSlots(logOf(plan, [up('m'), other, ...first, ...staged], 9_000))).toBe(2_000);
    });

    test('given back before it had the slot never took it', () => {
      const back: Told = { atMs: 5_000, tell: 'runLost', job: 'staged', outcome: 'released' };
      const log = logOf(plan, [up('m'), ...first, ...staged, back], 9_000);
      // Idle is `m` from 8 s on, and the job waits again.
      expect([waitBesideIdleSlots(log), preparingForModels(log)]).toEqual([1_000, 0]);
    });
  });

  test('the backoff after a failed run is not waiting for a download', () => {
    const plan = planOf({ jobs: [{ id: 'j' }], machines: [{ id: 'm' }] });
    const told: Told[] = [
      up('m'),
      { atMs: 0, tell: 'accepted', job: 'j' },
      { atMs: 0, tell: 'claimed', job: 'j', machine: 'm' },
      { atMs: 0, tell: 'started', job: 'j', machine: 'm' },
      { atMs: 1_000, tell: 'ranOut', job: 'j', machine: 'm', outcome: 'failed' },
      { atMs: 4_000, tell: 'claimed', job: 'j', machine: 'm' },
    ];
    expect(waitBesideIdleSlots(logOf(plan, told, 4_000))).toBe(0);
  });

  test('equals the time at which a plain look finds an idle slot, job by job and ms by ms', () => {
    const small = fc.record({
      machines: fc.array(
        fc.record({
          vramMb: fc.constantFrom(8, 16, 24),
          startMs: fc.integer({ min: 0, max: 20 }),
          livesMs: fc.integer({ min: 1, max: 40 }),
        }),
        { minLength: 1, maxLength: 4 },
      ),
      jobs: fc.array(
        fc.record({
          vramMb: fc.constantFrom(0, 8, 12, 24),
          atMs: fc.integer({ min: 0, max: 30 }),
          holdMs: fc.integer({ min: 0, max: 9 }),
          busyMs: fc.integer({ min: 1, max: 9 }),
          machine: fc.nat(3),
        }),
        { maxLength: 8 },
      ),
    });
    fc.assert(
      fc.property(small, ({ machines, jobs }) => {
        const plan = planOf({
          machines: machines.map(({ vramMb }, i) => ({ id: `m${i}`, vramMb })),
          jobs: jobs.map(({ vramMb }, i) => ({ id: `j${i}`, vramMb })),
        });
        const told: Told[] = machines.flatMap(({ startMs, livesMs }, i): Told[] => [
          { atMs: startMs, tell: 'up', machine: `m${i}` },
          { atMs: startMs + livesMs, tell: 'down', machine: `m${i}`, as: 'lost' },
        ]);
        // Claims that never overlap on a machine; a job whose machine is gone waits to the close.
        const freeMs = machines.map(({ startMs }) => startMs);
        const runs = jobs.map(({ atMs, holdMs, busyMs, machine }, i) => {
          const m = machine % machines.length;
          const claimedMs = Math.max(atMs + holdMs, freeMs[m]!);
          const goneMs = machines[m]!.startMs + machines[m]!.livesMs;
          told.push({ atMs, tell: 'accepted', job: `j${i}` });
          if (claimedMs >= goneMs) return { m, fromMs: 60, untilMs: 60 };
          const endMs = Math.min(claimedMs + busyMs, goneMs);
          freeMs[m] = endMs;
          told.push({ atMs: claimedMs, tell: 'claimed', job: `j${i}`, machine: `m${m}` });
          told.push({ atMs: endMs, tell: 'ranOut', job: `j${i}`, machine: `m${m}`, outcome: 'succeeded' });
          told.push({ atMs: endMs, tell: 'ended', job: `j${i}`, as: 'succeeded' });
          return { m, fromMs: claimedMs, untilMs: endMs };
        });
        let expected = 0;
        jobs.forEach((job, i) => {
          for (let t = job.atMs; t < runs[i]!.fromMs; t++) {
            const isIdle = machines.some(
              ({ vramMb, startMs, livesMs }, m) =>
                vramMb >= job.vramMb &&
                t >= startMs &&
                t < startMs + livesMs &&
                !runs.some((run) => run.m === m && t >= run.fromMs && t < run.untilMs),
            );
            if (isIdle) expected++;
          }
        });
        expect(waitBesideIdleSlots(logOf(plan, told, 60))).toBe(expected);
      }),
      { numRuns: 300 },
    );
  });
});
