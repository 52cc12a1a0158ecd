import { describe, expect, test } from 'vitest';
import { type PolicyEntry, policies } from '#simulations/policies/catalogue.ts';
import type { Policy } from '#simulations/policies/policy.ts';
import { planDay } from '#simulations/workloads/plan-day.ts';
import { Scenario, type ScenarioInput } from '#simulations/workloads/scenario.ts';
import { runFigures, simResult } from './figures.ts';
import type { DayPlan } from './plan.ts';
import { type DayRun, playDay } from './play-day.ts';

/** An hour with a rush in the middle, and machines that are lost often. */
const planOf = (fleet: ScenarioInput['fleet'] = {}): DayPlan =>
  planDay({
    scenario: Scenario.parse({
      name: 'rush',
      spanHours: 1,
      fleet: {
        wanted: [
          { atHour: 0, machines: 3 },
          { atHour: 0.3, machines: 15 },
          { atHour: 0.5, machines: 1 },
        ],
        lostPerHour: 0.5,
        auto: { min: 3, max: 8, everyS: 30, coolDownS: 120, arrivalsS: 300, targetDrainS: 60 },
        ...fleet,
      },
      catalogue: { checkpoints: 5, loras: 3, controlnets: 3, llms: 3 },
      jobs: { count: 100, customers: 20, kinds: { llm: 0.4, image: 0.6, video: 0, cpu: 0 } },
    }),
    seed: 1,
    load: 1,
  });

function entry(name: string): PolicyEntry {
  const found = policies.find((each) => each.name === name);
  if (found === undefined) throw new Error(`no policy ${name}`);
  return found;
}
const play = (plan: DayPlan, policy = entry('emp')) => playDay(plan, { policy });
/** Most machines that took work at one time: no draining ones, no zombies. */
function most({ log }: DayRun): number {
  const changes = log.machines.flatMap(({ startMs, endMs, drainingMs }) => [
    { atMs: startMs, by: 1 },
    { atMs: Math.min(endMs ?? Infinity, drainingMs ?? Infinity), by: -1 },
  ]);
  let [now, highest] = [0, 0];
  for (const { by } of changes.sort((a, b) => a.atMs - b.atMs || a.by - b.by)) {
    now += by;
    highest = Math.max(highest, now);
  }
  return highest;
}
/** The shipped policy of fifo, and a rule of its own for the fleet. */
const withScale = (scale: NonNullable<Policy['scale']>): PolicyEntry => {
  const { make, ...fifo } = entry('fifo');
  if (make === null) throw new Error('fifo is made');
  return { ...fifo, make: (world) => ({ ...make(world), scale }) };
};

describe('a day whose fleet is chosen', () => {
  test.for(['emp', 'fifo', 'jsq', 'clairvoyant'])(
    '%s: every job ends, on machines within the bounds that come and go',
    async (name) => {
      const run = await play(planOf(), entry(name));
      expect(run.invariants.violated).toEqual([]);
      expect(run.log.jobs.every(({ ended }) => ended === 'succeeded')).toBe(true);
      expect(most(run)).toBeGreaterThan(3);
      expect(most(run)).toBeLessThanOrEqual(8);
      expect(run.log.machines.some(({ ending }) => ending !== null)).toBe(true);
    },
  );

  test('the same plan gives the same history, another seed of the fleet another one', async () => {
    const [first, second] = [await play(planOf()), await play(planOf())];
    expect([second.traceHash, second.events]).toEqual([first.traceHash, first.events]);
    expect(second.log.incidents).toEqual(first.log.incidents);
    const plan = planOf();
    if (plan.auto === undefined) throw new Error('the fleet is a script');
    plan.auto.rentals.seed = 2;
    expect((await play(plan)).traceHash).not.toBe(first.traceHash);
  });

  test('the line of machines wanted, hours and incidents are of what happened', async () => {
    const run = await play(planOf());
    const { log } = run;
    const figures = runFigures(log, { wallMs: 1, traceHash: run.traceHash });
    const hours = log.machines.reduce(
      (sum, { startMs, endMs }) => sum + (endMs ?? log.closedMs ?? 0) - startMs,
      0,
    );
    expect(figures.machineMs).toBeGreaterThan(0);
    expect(figures.machineMs).toBeLessThanOrEqual(hours);
    expect(new Set(log.machines.map(({ ending }) => ending))).toEqual(new Set(['scale-in', 'lost', null]));
    const { machinesWanted } = figures.series;
    expect(machinesWanted[0]).toBe(3);
    expect(Math.max(...machinesWanted)).toBe(Math.max(...log.wanted.map(({ machines }) => machines)));
    const lost = log.machines.filter(({ ending }) => ending === 'lost').length;
    expect(figures.incidents?.filter(({ kind }) => kind === 'lost')).toHaveLength(lost);
    const wanted = figures.incidents?.filter(({ kind }) => kind === 'wanted') ?? [];
    expect(
      wanted.every(({ what }) => /^(fast-lane|standard|heavy) \d+, .*: .*for what arrives/.test(what)),
    ).toBe(true);
  });

  test('incidents stand with each policy in the result, and those of a script with the result', async () => {
    const head = {
      scenario: 'rush',
      seeds: [1],
      load: 1,
      spanMs: 3_600_000,
      wallMs: 1,
      command: '',
      versions: { emp: '0', node: '0' },
      invariants: { checked: 0, violated: 0 },
      incidents: [],
    };
    const incidentsOf = async (plan: DayPlan) => {
      const { log, traceHash } = await play(plan);
      return simResult(head, { emp: [runFigures(log, { wallMs: 1, traceHash })] }).policies.emp?.incidents;
    };
    expect((await incidentsOf(planOf()))?.length).toBeGreaterThan(0);
    expect(await incidentsOf(planOf({ auto: null }))).toBeUndefined();
  });

  test('a policy may choose for itself: it sees demand and fleet, and its bounds', async () => {
    const seen: number[] = [];
    const run = await play(
      planOf({ lostPerHour: 0, earlyLossShare: 0 }),
      withScale((view, { demands, rules }) => {
        seen.push(view.machines.size);
        expect(rules).toMatchObject({ min: 3, max: 8 });
        return demands.map(({ pool }) => ({
          pool,
          wanted: pool === 'standard' ? 5 : 1,
          giveUp: [],
          reason: 'fixed',
        }));
      }),
    );
    expect(run.invariants.violated).toEqual([]);
    expect(seen[0]).toBe(3);
    expect(most(run)).toBeGreaterThan(3);
    expect(most(run)).toBeLessThanOrEqual(7);
    expect(run.log.incidents.filter(({ kind }) => kind === 'wanted').map(({ what }) => what)).toContain(
      'standard 5, 1 there: fixed',
    );
  });

  test('one that wants more than it may ends the run', async () => {
    const greedy = withScale((_view, { demands }) =>
      demands.map(({ pool }) => ({ pool, wanted: 100, giveUp: [], reason: 'more' })),
    );
    await expect(play(planOf(), greedy)).rejects.toThrow('the policy wants 300 machines, allowed are 3 to 8');
  });
});
