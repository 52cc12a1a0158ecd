import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { EmpError } from '#protocol/errors.ts';
import { CustomerName, JobId, MachineId, ModelId, PoolName } from '#protocol/names.ts';
import type { DayPlan, PlannedJob } from '#simulations/day/plan.ts';
import { hourMs } from './arrivals.ts';
import { scenarioNamed } from './builtin-scenarios.ts';
import { type PlanOptions, planDay } from './plan-day.ts';
import { Scenario, type ScenarioInput } from './scenario.ts';

const plan = (change: Omit<ScenarioInput, 'name'> = {}, options: Partial<PlanOptions> = {}) =>
  planDay({ scenario: Scenario.parse({ name: 'test', ...change }), seed: 1, load: 1, ...options });
const day = planDay({ scenario: scenarioNamed('day'), seed: 1, load: 1 });
const share = (jobs: PlannedJob[], of: (job: PlannedJob) => boolean) => jobs.filter(of).length / jobs.length;

/** Whatever was drawn, a plan must be playable. */
function expectPlayable({ jobs, machines, models, spanMs, wanted, incidents }: DayPlan): void {
  const known = new Set(models.map((model) => model.id));
  expect(known.size).toBe(models.length);
  expect(new Set(jobs.map((job) => job.id)).size).toBe(jobs.length);
  expect(new Set(machines.map((machine) => machine.id)).size).toBe(machines.length);
  for (const times of [
    jobs.map((job) => job.atMs),
    machines.map((one) => one.askedMs),
    wanted.map((one) => one.atMs),
  ]) {
    expect(times.every((atMs, index) => atMs >= (times[index - 1] ?? 0) && Number.isInteger(atMs))).toBe(
      true,
    );
  }
  const largest = Math.max(...machines.map((machine) => machine.vramMb));
  for (const job of jobs) {
    const fits =
      job.atMs < spanMs &&
      Number.isInteger(job.runMs) &&
      job.runMs > 0 &&
      job.vramMb < largest &&
      job.models.every((id) => known.has(id));
    if (!fits) expect(job).toBe('a job that can run');
  }
  for (const { startMs, askedMs, endMs, ending } of machines) {
    expect(endMs).toBeLessThanOrEqual(spanMs);
    if (startMs === null) continue;
    expect(startMs).toBeGreaterThanOrEqual(askedMs);
    expect(endMs).toBeGreaterThan(startMs);
    expect(ending === 'stays').toBe(endMs === spanMs);
  }
  expect(incidents.every(({ atMs }) => atMs >= 0 && atMs < spanMs)).toBe(true);
}

describe('the standard day', () => {
  test('it can be played, and every name in it is one that hubs take', () => {
    expectPlayable(day);
    const check = { job: JobId, customer: CustomerName, machine: MachineId, model: ModelId, pool: PoolName };
    expect(day.jobs.every((job) => check.job.safeParse(job.id).success)).toBe(true);
    expect(day.jobs.every((job) => check.customer.safeParse(job.customer).success)).toBe(true);
    expect(day.machines.every((machine) => check.machine.safeParse(machine.id).success)).toBe(true);
    expect(day.models.every((model) => check.model.safeParse(model.id).success)).toBe(true);
    expect(day.jobs.every((job) => check.pool.safeParse(job.pool).success)).toBe(true);
  });

  test('60 % take 1 to 3 s, 36 % 20 to 60 s, 4 % 300 to 600 s, and none anything else', () => {
    expect(day.jobs).toHaveLength(50_000);
    const within = (from: number, to: number) =>
      share(day.jobs, ({ runMs }) => runMs >= from * 1000 && runMs <= to * 1000);
    expect(within(1, 3)).toBeCloseTo(0.6, 2);
    expect(within(20, 60)).toBeCloseTo(0.36, 2);
    expect(within(300, 600)).toBeCloseTo(0.04, 2);
    expect(within(1, 3) + within(20, 60) + within(300, 600)).toBeCloseTo(1, 9);
  });

  test('10, then 50, then again 10 machines are wanted', () => {
    const steps = day.wanted.map((one) => one.machines);
    expect([steps[0], Math.max(...steps), steps.at(-1)]).toEqual([10, 50, 10]);
    expect(steps).not.toContain(9);
    const rise = day.wanted.filter((one) => one.atMs < 12 * hourMs).map((one) => one.machines);
    expect(rise).toEqual([...rise].sort((a, b) => a - b));
  });

  test('the machines that run are those wanted, less what was just ordered or lost', () => {
    for (const [hour, wanted] of [
      [2, 10],
      [12.5, 50],
      [15, 50],
      [18, 47],
      [23.9, 10],
    ] as const) {
      const atMs = hour * hourMs;
      const running = day.machines.filter(
        (one) => one.startMs !== null && one.startMs <= atMs && one.endMs > atMs,
      );
      expect(running.length).toBeLessThanOrEqual(wanted + 1);
      expect(running.length).toBeGreaterThanOrEqual(wanted - 4);
    }
    const hours = day.machines.reduce(
      (sum, one) => sum + (one.startMs === null ? 0 : one.endMs - one.startMs),
      0,
    );
    expect(hours / hourMs).toBeGreaterThan(700);
    expect(hours / hourMs).toBeLessThan(760);
  });

  test('cards of 8, 12 and 24 GB are wanted 20, 50 and 30 %', () => {
    const noon = day.machines.filter(
      (one) => one.startMs !== null && one.startMs <= 14 * hourMs && one.endMs > 14 * hourMs,
    );
    const of = (gb: number) => noon.filter((one) => one.vramMb === gb * 1024).length;
    expect([of(8), of(12), of(24)].map((count) => count / 50)).toEqual([
      expect.closeTo(0.2, 1),
      expect.closeTo(0.5, 1),
      expect.closeTo(0.3, 1),
    ]);
  });

  test('at nearly all times a machine runs that every job of the plan fits', () => {
    let unservable = 0;
    for (const job of day.jobs) {
      const fit = day.machines.some(
        (one) =>
          one.startMs !== null && one.startMs <= job.atMs && one.endMs > job.atMs && one.vramMb >= job.vramMb,
      );
      if (!fit) unservable++;
    }
    expect(unservable / day.jobs.length).toBeLessThan(0.001);
  });

  test('its work fits twice into its fleet, and twice what only 24 GB hold into the machines of 24 GB', () => {
    const work = (of: (job: PlannedJob) => boolean) =>
      day.jobs.filter(of).reduce((sum, job) => sum + job.runMs / hourMs, 0);
    const capacity = (leastMb: number) =>
      day.machines
        .filter((one) => one.startMs !== null && one.vramMb >= leastMb)
        .reduce((sum, one) => sum + ((one.endMs - (one.startMs ?? 0)) / hourMs) * one.speed, 0);
    const busy = work(() => true) / capacity(0);
    expect(busy).toBeGreaterThan(0.4);
    expect(busy).toBeLessThan(0.48);
    const heavyBusy = work((job) => job.vramMb > 12 * 1024) / capacity(24 * 1024);
    expect(heavyBusy).toBeGreaterThan(0.3);
    expect(heavyBusy).toBeLessThan(0.42);
  });

  test('users go on as in the trace: 78 % were seen within the hour, 68 % of those with the same models', () => {
    const bare = (job: PlannedJob) => job.models.filter((id) => !id.startsWith('controlnet')).join(' ');
    const lastAt = new Map<string, number>();
    const lastImage = new Map<string, { atMs: number; models: string }>();
    let seen = 0;
    let images = 0;
    let same = 0;
    for (const job of day.jobs) {
      if ((lastAt.get(job.customer) ?? -Infinity) >= job.atMs - hourMs) seen++;
      lastAt.set(job.customer, job.atMs);
      if (job.kind !== 'image') continue;
      const last = lastImage.get(job.customer);
      if (last !== undefined && last.atMs >= job.atMs - hourMs) {
        images++;
        if (last.models === bare(job)) same++;
      }
      lastImage.set(job.customer, { atMs: job.atMs, models: bare(job) });
    }
    expect(seen / day.jobs.length).toBeCloseTo(0.78, 1.5);
    expect(same / images).toBeCloseTo(0.68, 1.5);
  });

  test('LoRAs are in about 16 % of images, and 1.6 % of jobs fail once', () => {
    const images = day.jobs.filter((job) => job.kind === 'image');
    expect(share(images, (job) => job.models.some((id) => id.startsWith('lora')))).toBeCloseTo(0.16, 1.3);
    expect(share(day.jobs, (job) => job.failRuns === 1)).toBeCloseTo(0.016, 2.5);
    expect(share(day.jobs, (job) => job.failRuns === 'poison')).toBe(0);
  });

  test('it is data: it survives JSON', () => {
    expect(JSON.parse(JSON.stringify(day))).toEqual(day);
  });
});

describe('a plan', () => {
  test('equal options give equal plans, another seed another one', () => {
    const scenario = scenarioNamed('viral+bursts');
    const small = (seed: number) => planDay({ scenario, seed, load: 0.05 });
    expect(small(7)).toEqual(small(7));
    expect(small(8).jobs).not.toEqual(small(7).jobs);
    expect(small(8).machines).not.toEqual(small(7).machines);
  });

  test('without losses the same jobs arrive, and the same machines stand longer', () => {
    const jobs = { count: 2_000 };
    const rough = plan({ jobs, fleet: { lostPerHour: 1, earlyLossShare: 0.2 } });
    const calm = plan({ jobs, fleet: { lostPerHour: 0, earlyLossShare: 0, undeliveredShare: 0 } });
    expect(calm.jobs).toEqual(rough.jobs);
    expect(calm.models).toEqual(rough.models);
    expect(calm.incidents.some((one) => one.kind === 'lost')).toBe(false);
    const firsts = (of: DayPlan) => of.machines.filter((one) => one.id.endsWith('-1') && one.askedMs === 0);
    const hardware = (of: DayPlan) =>
      firsts(of).map(({ startMs: _start, endMs: _end, ending: _ending, ...rest }) => rest);
    expect(hardware(calm)).toEqual(hardware(rough));
    for (const [index, machine] of firsts(calm).entries()) {
      expect(machine.endMs).toBeGreaterThanOrEqual(firsts(rough)[index]!.endMs);
    }
  });

  test('other machines change no job, other jobs no machine', () => {
    const one = plan({ jobs: { count: 500 } });
    const two = plan({ jobs: { count: 900, failShare: 0.5 }, fleet: { linkFactor: 0.1, imageGb: 20 } });
    expect(plan({ jobs: { count: 500 }, fleet: { linkFactor: 0.1, imageGb: 20 } }).jobs).toEqual(one.jobs);
    expect(plan({ jobs: { count: 900, failShare: 0.5 } }).machines).toEqual(one.machines);
    expect(two.machines).not.toEqual(one.machines);
  });

  test('another share of failures leaves arrivals, users, models and run times as they are', () => {
    const bare = (failShare: number) =>
      plan({ jobs: { count: 500, failShare } }).jobs.map(({ failRuns: _, ...job }) => job);
    expect(bare(1)).toEqual(bare(0));
  });

  test('an event comes on top: the everyday jobs stay, and other events too', () => {
    const jobs = { count: 1_000 };
    const flood = { kind: 'flood' as const, atHour: 1, hours: 1, jobs: 50 };
    const poison = { kind: 'poison' as const, atHour: 1, hours: 1, jobs: 5 };
    const without = (of: DayPlan, prefix: string) => of.jobs.filter((job) => !job.id.startsWith(prefix));
    const both = plan({ jobs, events: [flood, poison] });
    expect(without(both, 'poison-')).toEqual(plan({ jobs, events: [flood] }).jobs);
    expect(without(both, 'flood-')).toEqual(plan({ jobs, events: [poison] }).jobs);
    expect(plan({ jobs, events: [poison, flood] }).jobs).toEqual(both.jobs);
  });

  test('the load is a factor on all jobs and on nothing else', () => {
    const scenario = scenarioNamed('flood+bursts');
    const counts = [0.1, 0.25, 0.5].map((load) => planDay({ scenario, seed: 3, load }).jobs.length);
    expect(counts).toEqual([0.1, 0.25, 0.5].map((load) => (50_000 + 3_000 + 2_400) * load));
    const { machines } = planDay({ scenario, seed: 3, load: 0.1 });
    expect(planDay({ scenario, seed: 3, load: 0.2 }).machines).toEqual(machines);
  });

  test('twice the load has twice the users, who come back as often', () => {
    const seenAt = (load: number) => {
      const { jobs } = plan({ jobs: { count: 5_000, customers: 400 } }, { load });
      const last = new Map<string, number>();
      const seen = jobs.filter(({ customer, atMs }) => {
        const before = last.get(customer) ?? -Infinity;
        last.set(customer, atMs);
        return before >= atMs - hourMs;
      });
      return { share: seen.length / jobs.length, users: last.size };
    };
    const [once, thrice] = [seenAt(1), seenAt(3)];
    expect(thrice.users / once.users).toBeCloseTo(3, 0);
    expect(thrice.share).toBeCloseTo(once.share, 1.5);
  });

  test('the store has the bound of the scenario, or none', () => {
    expect(day.originBytesPerMs).toBeNull();
    expect(plan({ originGbps: 2, jobs: { count: 1 } }).originBytesPerMs).toBe(250_000);
  });

  test('whatever a scenario asks for within its limits can be played', () => {
    const shares = fc.double({ min: 0, max: 1, noNaN: true });
    const scenarios = fc.record({
      spanHours: fc.double({ min: 0.05, max: 30, noNaN: true }),
      fleet: fc.record({
        wanted: fc
          .array(fc.integer({ min: 0, max: 12 }), { minLength: 1, maxLength: 6 })
          .map((machines) => [...machines, 3].map((count, index) => ({ atHour: index * 4, machines: count })))
          // Heavy jobs need a heavy machine: the first point wants one of each pool.
          .map((points) => points.map((point, index) => (index === 0 ? { ...point, machines: 6 } : point))),
        stepMinutes: fc.double({ min: 1, max: 240, noNaN: true }),
        leadMinutes: fc.double({ min: 0, max: 240, noNaN: true }),
        spareShare: shares,
        lostPerHour: fc.double({ min: 0, max: 20, noNaN: true }),
        earlyLossShare: shares,
        undeliveredShare: fc.double({ min: 0, max: 0.9, noNaN: true }),
        imageGb: fc.double({ min: 0.01, max: 35, noNaN: true }),
      }),
      catalogue: fc.record({
        checkpoints: fc.integer({ min: 1, max: 30 }),
        loras: fc.integer({ min: 3, max: 30 }),
        controlnets: fc.integer({ min: 3, max: 9 }),
        llms: fc.integer({ min: 1, max: 6 }),
      }),
      jobs: fc.record({
        count: fc.integer({ min: 0, max: 200 }),
        customers: fc.integer({ min: 1, max: 20 }),
        sessions: fc.record({ sameHour: shares, sameModels: shares }),
        loraShare: shares,
        controlnetShare: shares,
        failShare: shares,
      }),
    });
    fc.assert(
      fc.property(scenarios, fc.nat(), (change, seed) => {
        expectPlayable(planDay({ scenario: Scenario.parse({ name: 'any', ...change }), seed, load: 1 }));
      }),
      { numRuns: 60 },
    );
  });

  test.each([
    [{ seed: -1 }, 'seed'],
    [{ seed: 0.5 }, 'seed'],
    [{ seed: Number.NaN }, 'seed'],
    [{ load: 0 }, 'load'],
    [{ load: -1 }, 'load'],
    [{ load: Number.NaN }, 'load'],
    [{ load: Infinity }, 'load'],
    [{ load: 101 }, 'load'],
    [{ load: 41 }, 'load'],
  ])('%j is refused by name', (options, field) => {
    expect(() => plan({}, options)).toThrow(EmpError);
    expect(() => plan({}, options)).toThrow(new RegExp(`^${field}: `));
  });

  test('a fleet that wants no machine within the span is refused', () => {
    const wanted = [
      { atHour: 0, machines: 0 },
      { atHour: 5, machines: 0 },
      { atHour: 6, machines: 3 },
    ];
    expect(() => plan({ spanHours: 4, fleet: { wanted } })).toThrow('no machine is wanted within the span');
  });

  test('a fleet that would need more rentals than a plan may hold is refused', () => {
    const fleet = {
      wanted: [{ atHour: 0, machines: 2_000 }],
      lostPerHour: 60,
      leadMinutes: 0,
      imageGb: 0.01,
    };
    expect(() => plan({ spanHours: 168, fleet, jobs: { count: 0 } })).toThrow('more than 20000 rentals');
  });
});
