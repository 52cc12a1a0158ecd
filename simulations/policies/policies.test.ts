import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { PlannedJob, PlannedMachine, PlannedModel } from '#simulations/day/plan.ts';
import { seededRng } from '#simulations/seeded-rng.ts';
import { policies } from './catalogue.ts';
import { planFirsts } from './planner.ts';
import type { FleetMachine, FleetView, Policy, WaitingJob } from './policy.ts';

const models = new Map<string, PlannedModel>(
  [
    { id: 'small', kind: 'checkpoint' as const, bytes: 1_000, vramMb: 4_000 },
    { id: 'large', kind: 'checkpoint' as const, bytes: 10_000, vramMb: 8_000 },
  ].map((model) => [model.id, model]),
);

const planOf = (id: string, rest: Partial<PlannedMachine> = {}): PlannedMachine => ({
  id,
  askedMs: 0,
  startMs: 0,
  endMs: 1e9,
  ending: 'stays',
  away: null,
  drainMs: 0,
  gpu: 'card',
  pool: 'standard',
  vramMb: 12_000,
  ramMb: 32_000,
  diskBytes: 100_000,
  speed: 1,
  downBytesPerMs: 1,
  upBytesPerMs: 1,
  diskBytesPerMs: 10,
  usdPerHour: 1,
  ...rest,
});

const machineOf = (
  id: string,
  rest: Partial<Omit<FleetMachine, 'plan'>> & { plan?: Partial<PlannedMachine> } = {},
): FleetMachine => {
  const { plan, ...state } = rest;
  return {
    plan: planOf(id, plan),
    draining: false,
    running: new Map(),
    idleSinceMs: 0,
    onDisk: new Set(),
    loaded: new Set(),
    copying: new Set(),
    ...state,
  };
};

const jobOf = (id: string, rest: Partial<PlannedJob> = {}): PlannedJob => ({
  id,
  atMs: 0,
  customer: 'amber',
  kind: 'image',
  pool: 'standard',
  priority: 50,
  models: [],
  runMs: 1_000,
  vramMb: 0,
  failRuns: 0,
  ...rest,
});

function viewOf(machines: FleetMachine[], jobs: PlannedJob[], nowMs = 1_000): FleetView {
  const waiting = jobs.map((job): [string, WaitingJob] => [job.id, { job, arrivedMs: job.atMs, runs: 0 }]);
  return {
    nowMs,
    waiting: new Map(waiting),
    machines: new Map(machines.map((machine) => [machine.plan.id, machine])),
    models,
    rng: seededRng('view'),
  };
}

function make(name: string, view: FleetView): Policy {
  const maker = policies.find((policy) => policy.name === name)?.make;
  if (maker == null) throw new Error(`${name} has no maker`);
  return maker({
    rng: seededRng('policy'),
    jobs: [...view.waiting.values()].map(({ job }) => job),
    machines: [...view.machines.values()].map(({ plan }) => plan),
    models,
  });
}

/** What each machine would be given, jobs having arrived one after the other. */
function choices(name: string, view: FleetView): Record<string, string | null> {
  const policy = make(name, view);
  for (const waiting of view.waiting.values()) policy.arrived?.(view, waiting);
  return Object.fromEntries(
    [...view.machines.values()].map((machine) => [machine.plan.id, policy.choose(view, machine)]),
  );
}

describe('policies', () => {
  test('no policy gives a machine a job that it cannot run', () => {
    const job = fc.record({ vramMb: fc.constantFrom(0, 8_000, 24_000), large: fc.boolean() });
    const machine = fc.record({
      vramMb: fc.constantFrom(8_000, 12_000, 24_000),
      diskBytes: fc.constantFrom(5_000, 100_000),
      pool: fc.constantFrom('fast-lane', 'standard'),
    });
    fc.assert(
      fc.property(
        fc.array(machine, { minLength: 1, maxLength: 5 }),
        fc.array(job, { minLength: 1, maxLength: 8 }),
        (fleet, work) => {
          const view = viewOf(
            fleet.map((plan, index) => machineOf(`m${index}`, { plan })),
            work.map(({ vramMb, large }, index) =>
              jobOf(`j${index}`, { vramMb, models: [large ? 'large' : 'small'] }),
            ),
          );
          for (const { name, make: maker } of policies) {
            if (maker === null) continue;
            for (const [machineId, jobId] of Object.entries(choices(name, view))) {
              if (jobId === null) continue;
              const chosen = view.waiting.get(jobId)?.job;
              const plan = view.machines.get(machineId)?.plan;
              expect(chosen?.vramMb, `${name} ${machineId}`).toBeLessThanOrEqual(plan?.vramMb ?? -1);
              const bytes = models.get(chosen?.models[0] ?? '')?.bytes ?? 0;
              expect(bytes, name).toBeLessThanOrEqual(plan?.diskBytes ?? -1);
            }
          }
        },
      ),
      { numRuns: 100 },
    );
  });

  test('fifo takes the oldest that fits, and tells the machine that has been idle longest', () => {
    const view = viewOf(
      [machineOf('fresh', { idleSinceMs: 900 }), machineOf('old', { idleSinceMs: 100 })],
      [jobOf('big', { vramMb: 24_000 }), jobOf('first'), jobOf('second')],
    );
    expect(choices('fifo', view)).toEqual({ fresh: 'first', old: 'first' });
    const [, first] = [...view.waiting.values()];
    expect(first && make('fifo', view).place(view, first)).toBe('old');
  });

  test('pools keeps to its own pool, except for what no machine of it can hold', () => {
    const view = viewOf(
      [
        machineOf('lane', { plan: { pool: 'fast-lane', vramMb: 24_000 } }),
        machineOf('usual', { plan: { pool: 'standard', vramMb: 12_000 } }),
      ],
      [jobOf('s', { pool: 'standard' }), jobOf('s-big', { pool: 'standard', vramMb: 24_000 })],
    );
    expect(choices('pools', view)).toEqual({ lane: 's-big', usual: 's' });
  });

  test('jsq gives each job to the shortest queue, counting what runs', () => {
    const busy = machineOf('busy', {
      running: new Map([['x', { job: jobOf('x'), claimedMs: 0, startedMs: 0 }]]),
    });
    const view = viewOf([busy, machineOf('free')], [jobOf('a'), jobOf('b'), jobOf('c')]);
    const given = choices('jsq', view);
    expect(given['free']).toBe('a');
    expect(given['busy']).not.toBeNull();
  });

  test('hash sends one model to one machine while its load allows', () => {
    const fleet = ['m1', 'm2', 'm3', 'm4'].map((id) => machineOf(id));
    const view = viewOf(fleet, [jobOf('a', { models: ['small'] })]);
    const policy = make('hash', view);
    const homeOf = (id: string) => {
      const waiting = { job: jobOf(id, { models: ['small'] }), arrivedMs: 0, runs: 0 };
      policy.arrived?.(view, waiting);
      return policy.place(view, waiting);
    };
    const first = homeOf('a');
    expect(first).not.toBeNull();
    // The same job on a policy that remembers nothing goes to the same home.
    expect(choices('hash', view)[first ?? '']).toBe('a');
  });

  test('what was meant for a machine that leaves goes to another', () => {
    for (const name of ['random', 'jsq', 'hash']) {
      const [gone, stays] = [machineOf('gone', { plan: { vramMb: 24_000 } }), machineOf('stays')];
      const view = viewOf([gone], [jobOf('a')]);
      const policy = make(name, view);
      for (const waiting of view.waiting.values()) policy.arrived?.(view, waiting);
      const later = viewOf([stays], [jobOf('a')]);
      policy.left?.(later, 'gone');
      expect(policy.choose(later, stays), name).toBe('a');
    }
  });

  test('affinity prefers the job whose model is loaded, until another has waited long enough', () => {
    const warm = machineOf('warm', { onDisk: new Set(['small']), loaded: new Set(['small']) });
    const cold = jobOf('cold', { models: ['large'] });
    const hot = jobOf('hot', { models: ['small'], atMs: 1_000 });
    expect(choices('affinity', viewOf([warm], [cold, hot], 1_000))).toEqual({ warm: 'hot' });
    const late = jobOf('late', { models: ['small'], atMs: 59_000 });
    expect(choices('affinity', viewOf([warm], [cold, late], 60_000))).toEqual({ warm: 'cold' });
  });

  test('clairvoyant waits for the machine that ends it first, and gives nothing to one that will be gone', () => {
    const holder = machineOf('holder', {
      onDisk: new Set(['large']),
      loaded: new Set(['large']),
      running: new Map([['x', { job: jobOf('x', { runMs: 2_000 }), claimedMs: 0, startedMs: 0 }]]),
      idleSinceMs: null,
    });
    const job = jobOf('a', { models: ['large'] });
    expect(choices('clairvoyant', viewOf([holder, machineOf('idle')], [job]))).toEqual({
      holder: 'a',
      idle: null,
    });
    const doomed = machineOf('doomed', { plan: { ending: 'lost', endMs: 1_500 } });
    expect(choices('clairvoyant', viewOf([doomed], [jobOf('b')]))).toEqual({ doomed: null });
  });

  test('clairvoyant fetches a model before its jobs come, once', () => {
    const coming = Array.from({ length: 10 }, (_, index) =>
      jobOf(`later-${index}`, { atMs: 100_000 + index, models: ['large'], runMs: 60_000 }),
    );
    const view = viewOf([machineOf('slow', { plan: { downBytesPerMs: 0.5 } }), machineOf('quick')], []);
    const policy = policies
      .find(({ name }) => name === 'clairvoyant')
      ?.make?.({
        rng: seededRng('p'),
        jobs: coming,
        machines: [...view.machines.values()].map(({ plan }) => plan),
        models,
      });
    const arrival = { job: jobOf('now'), arrivedMs: 1_000, runs: 0 };
    expect(policy?.copies?.(view, arrival)).toEqual([{ machineId: 'quick', modelId: 'large' }]);
    const there = viewOf(
      [machineOf('a', { copying: new Set(['large']) }), machineOf('b', { onDisk: new Set(['large']) })],
      [],
    );
    expect(policy?.copies?.(there, arrival)).toEqual([]);
  });
});

describe('list scheduling', () => {
  test('one job goes to the machine that ends it first, whatever its speed and models', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ speed: fc.constantFrom(0.5, 1, 2), has: fc.boolean() }), {
          minLength: 1,
          maxLength: 5,
        }),
        fc.integer({ min: 1, max: 50_000 }),
        (fleet, runMs) => {
          const machines = fleet.map(({ speed, has }, index) =>
            machineOf(`m${index}`, {
              plan: { speed },
              onDisk: new Set(has ? ['large'] : []),
              loaded: new Set(has ? ['large'] : []),
            }),
          );
          const view = viewOf(machines, [jobOf('a', { models: ['large'], runMs })]);
          const ends = fleet.map(({ speed, has }) => (has ? 0 : 11_000) + runMs / speed);
          const [chosen] = [...planFirsts(view, { models }).keys()];
          expect(ends[machines.findIndex(({ plan }) => plan.id === chosen)]).toBe(Math.min(...ends));
        },
      ),
    );
  });

  test('each machine gets one of the first jobs before any gets a second', () => {
    for (const [machines, jobs] of [
      [1, 4],
      [2, 4],
      [3, 5],
      [4, 3],
    ] as const) {
      const fleet = Array.from({ length: machines }, (_, index) => machineOf(`m${index}`));
      const work = Array.from({ length: jobs }, (_, index) => jobOf(`j${index}`));
      const firsts = planFirsts(viewOf(fleet, work), { models });
      expect([...firsts.values()].sort()).toEqual(
        work.slice(0, Math.min(machines, jobs)).map(({ id }) => id),
      );
    }
  });

  test('what is planned before counts: the second job of a model follows the first to its machine', () => {
    const fleet = [machineOf('m0'), machineOf('m1', { plan: { downBytesPerMs: 0.5 } })];
    const work = ['a', 'b'].map((id) => jobOf(id, { models: ['large'], runMs: 1_000 }));
    // 21 s to fetch and load on the slow link, against one run behind the machine that fetches it anyway.
    expect([...planFirsts(viewOf(fleet, work), { models })]).toEqual([['m0', 'a']]);
  });
});
