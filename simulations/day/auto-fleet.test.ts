import { beforeEach, describe, expect, test } from 'vitest';
import type { PoolDemand } from '#machines/policy/autoscale.ts';
import type { Policy, ScaleAnswer } from '#simulations/policies/policy.ts';
import { VirtualClock } from '#simulations/virtual-clock.ts';
import { planDay } from '#simulations/workloads/plan-day.ts';
import { Scenario, type ScenarioInput } from '#simulations/workloads/scenario.ts';
import { AutoFleet } from './auto-fleet.ts';
import type { DayWatch } from './day-watch.ts';
import type { AutoPlan, DayPlan, PlannedIncident, PlannedMachine } from './plan.ts';

const minute = 60_000;
const calm = { lostPerHour: 0, earlyLossShare: 0, undeliveredShare: 0 };

/** A day whose provider only notes what it is told; `wants` is what the policy answers, pool by pool. */
class Setup {
  readonly clock = new VirtualClock();
  readonly drained: string[] = [];
  readonly withdrawn: string[] = [];
  readonly rented: PlannedMachine[] = [];
  readonly wanted: number[] = [];
  readonly incidents: PlannedIncident[] = [];
  readonly fleet: AutoFleet;
  readonly watch: DayWatch;
  readonly plan: DayPlan;
  wants: Partial<Record<string, number>> = {};
  giveUp: string[] = [];
  demands: readonly PoolDemand[] = [];

  constructor(fleet: ScenarioInput['fleet'] = {}, jobs = 200) {
    const scenario = Scenario.parse({
      name: 'small',
      spanHours: 2,
      fleet: { wanted: [{ atHour: 0, machines: 6 }], ...calm, ...fleet, auto: { min: 3, ...fleet?.auto } },
      jobs: { count: jobs, shape: 'flat' },
    });
    this.plan = planDay({ scenario, seed: 1, load: 1 });
    const auto = this.plan.auto as AutoPlan;
    const { clock } = this;
    const scale: NonNullable<Policy['scale']> = (_view, { demands }) => {
      this.demands = demands;
      return demands.map(({ pool, running }): ScaleAnswer => {
        const wanted = this.wants[pool] ?? Math.max(1, running);
        return { pool, wanted, giveUp: pool === 'standard' ? this.giveUp : [], reason: 'the test says so' };
      });
    };
    this.fleet = new AutoFleet({
      plan: this.plan,
      auto,
      clock,
      scale,
      notes: {
        rented: (machine) => void this.rented.push(machine),
        wanted: (machines) => void this.wanted.push(machines),
        incident: (incident) => void this.incidents.push(incident),
      },
    });
    this.watch = this.fleet.watch();
    this.fleet.begin({
      clock,
      rent: (machine) => () => void this.withdrawn.push(machine.id),
      drain: (machineId) => {
        this.drained.push(machineId);
        this.watch.machineDraining(machineId);
      },
    });
    for (const { id } of this.plan.machines) this.watch.machineStarted(id);
  }

  standard(): PoolDemand {
    const found = this.demands.find(({ pool }) => pool === 'standard');
    if (found === undefined) throw new Error('nobody has looked');
    return found;
  }

  /** One more look. */
  look(): Promise<void> {
    return this.clock.advanceBy(minute);
  }

  told(kind: PlannedIncident['kind']): string[] {
    return this.incidents.filter((one) => one.kind === kind).map(({ what }) => what);
  }
}

let day: Setup;
beforeEach(() => {
  day = new Setup();
});

describe('orders', () => {
  test('as many are placed as are missing, each once, and count as on their way', async () => {
    day.wants = { standard: 5 };
    await day.look();
    expect(day.rented.map(({ id }) => id)).toEqual(['standard-4', 'standard-5']);
    await day.look();
    expect(day.rented).toHaveLength(2);
    expect(day.standard()).toMatchObject({
      running: 3,
      starting: [{ askedMs: minute }, { askedMs: minute }],
    });
  });

  test('one that starts runs, and how long it took is remembered', async () => {
    day.wants = { standard: 4 };
    await day.look();
    await day.clock.advanceBy(7 * minute + 1);
    day.watch.machineStarted('standard-4');
    await day.look();
    expect(day.standard()).toMatchObject({ running: 4, starting: [], startUpsMs: [7 * minute + 1] });
  });

  test('those that are too many are withdrawn before any machine goes, the youngest first', async () => {
    day.wants = { standard: 4 };
    await day.look();
    day.wants = { standard: 5 };
    await day.look();
    day.wants = { standard: 4 };
    await day.look();
    expect(day.withdrawn).toEqual(['standard-5']);
    expect(day.drained).toEqual([]);
    expect(day.told('withdrawn')).toEqual(['standard-5']);
  });

  test('those that are given up are withdrawn, and others are placed', async () => {
    day.wants = { standard: 4 };
    await day.look();
    day.giveUp = ['standard-4'];
    await day.look();
    expect(day.withdrawn).toEqual(['standard-4']);
    expect(day.told('not delivered')).toEqual(['standard-4']);
    expect(day.rented.map(({ id }) => id)).toEqual(['standard-4', 'standard-5']);
  });

  test('one that the provider never fills is not started, and stays on its way', async () => {
    const never = new Setup({ undeliveredShare: 0.9 });
    never.wants = { standard: 13 };
    await never.look();
    expect(never.rented.some(({ startMs }) => startMs === null)).toBe(true);
    await never.look();
    expect(never.standard().starting).toHaveLength(10);
  });
});

describe('machines that go', () => {
  test('idle ones before busy ones, and each is told once', async () => {
    const job = day.plan.jobs.find(({ kind }) => kind === 'image');
    if (job === undefined) throw new Error('no image in the plan');
    day.watch.jobAsked(job.id);
    day.watch.claimed({ jobId: job.id, machineId: 'standard-1' });
    day.wants = { standard: 1 };
    await day.look();
    expect(day.drained).toEqual(['standard-2', 'standard-3']);
    await day.look();
    expect(day.drained).toHaveLength(2);
    expect(day.standard().running).toBe(1);
    for (const id of day.drained) expect(day.fleet.endingOf(id)).toBe('scale-in');
    day.watch.machineEnded('standard-2');
    expect(day.told('scale-in')).toEqual(['standard-2']);
  });

  test('of idle ones the one whose models are missed least', async () => {
    const job = day.plan.jobs.find(({ models }) => models.length > 0);
    const [modelId = ''] = job?.models ?? [];
    day.watch.jobAsked(job?.id ?? '');
    day.watch.model({ machineId: 'standard-1', modelId, became: 'onDisk' });
    day.watch.model({ machineId: 'standard-2', modelId, became: 'onDisk' });
    day.watch.model({ machineId: 'standard-2', modelId, became: 'evicted' });
    day.wants = { standard: 1 };
    await day.look();
    expect(day.drained).toEqual(['standard-2', 'standard-3']);
  });

  test('a lost one is missed at the next look and its place is filled', async () => {
    const lossy = new Setup({ lostPerHour: 60 });
    lossy.wants = { standard: 3 };
    await lossy.look();
    const [machine] = lossy.plan.machines.filter(({ pool }) => pool === 'standard');
    if (machine === undefined) throw new Error('no machine');
    expect(machine.ending).toBe('lost');
    await lossy.clock.advanceTo(Math.max(machine.endMs, lossy.clock.monotonic()));
    lossy.watch.machineEnded(machine.id);
    expect(lossy.fleet.endingOf(machine.id)).toBe('lost');
    expect(lossy.told('lost')).toEqual([machine.id]);
    await lossy.look();
    expect(lossy.rented.map(({ id }) => id)).toEqual(['standard-4']);
  });

  test('a zombie counts as lost from when it was cut off, also when it is back', async () => {
    const zombies = new Setup({ lostPerHour: 6, zombieShare: 1, zombieAwayMinutes: 5 });
    const machine = zombies.plan.machines.find(({ pool, away }) => pool === 'standard' && away !== null);
    if (machine?.away == null) throw new Error('no zombie in the plan');
    const { fromMs, untilMs } = machine.away;
    zombies.wants = { standard: 3 };
    await zombies.clock.advanceTo(fromMs + minute);
    expect(zombies.told('lost')).toContain(machine.id);
    const others = zombies.plan.machines.filter(
      ({ pool, away }) => pool === 'standard' && away !== null && away.fromMs <= zombies.clock.monotonic(),
    );
    expect(zombies.standard().running).toBe(3 - others.length);
    await zombies.clock.advanceTo(untilMs + 1);
    expect(zombies.told('back')).toContain(machine.id);
  });
});

describe('what is told', () => {
  test('the number wanted when it changes, with pool and reason; and the sum of all pools', async () => {
    day.wants = { standard: 4 };
    await day.look();
    await day.look();
    expect(day.told('wanted')).toContain('standard 4, 3 there: the test says so');
    day.wants = { standard: 6 };
    await day.look();
    expect(day.told('wanted').at(-1)).toBe('standard 6, was 4: the test says so');
    expect(day.wanted).toEqual([7, 9]);
  });

  test.each([
    [{ standard: 200 }, 'the policy wants 203 machines, allowed are 3 to 60'],
    [{ standard: 0 }, 'the policy wants 0 machines of standard, allowed are 1 to 2000'],
    [{ heavy: 0, standard: 9 }, 'the policy wants 0 machines of heavy, allowed are 1 to 2000'],
    [{ standard: 4.5 }, 'the policy wants 4.5 machines of standard'],
  ])('a policy that wants %o is refused', async (wants, message) => {
    day.wants = wants;
    await expect(day.look()).rejects.toThrow(message);
  });

  test('a policy that wants fewer than all pools must have is refused, fewer than they may have is not', async () => {
    const least = new Setup({ auto: { min: 6 } });
    least.wants = { standard: 2 };
    await expect(least.look()).rejects.toThrow('the policy wants 5 machines, allowed are 6 to 60');
    const one = { max: 1 };
    const pools = { 'fast-lane': one, standard: one, heavy: one };
    const small = new Setup({ auto: { min: 6, pools } });
    await expect(small.look()).resolves.toBeUndefined();
  });
});

describe('what the autoscaler is told of jobs', () => {
  const jobOf = (kind: string) => {
    const found = day.plan.jobs.find((job) => job.kind === kind && job.pool === 'standard');
    if (found === undefined) throw new Error(`no ${kind} in the plan`);
    return found;
  };

  test('what waits, by kind: run time on a machine of its pool and the expected load', async () => {
    const job = jobOf('image');
    day.watch.jobAsked(job.id);
    await day.look();
    // The mean speed of the pool is 1; nothing was seen to load yet.
    expect(day.standard().waiting).toEqual([
      { kind: 'image', jobs: 1, runMs: expect.closeTo(job.runMs, 3), loadMs: 15_000 },
    ]);
    expect(day.standard().arriving).toBeCloseTo((job.runMs + 15_000) / (15 * minute), 6);
  });

  test('what is claimed runs, and what comes back waits again', async () => {
    const job = jobOf('image');
    day.watch.jobAsked(job.id);
    day.watch.claimed({ jobId: job.id, machineId: 'standard-1' });
    await day.look();
    expect(day.standard().waiting).toEqual([]);
    day.watch.runLost({ jobId: job.id });
    await day.look();
    expect(day.standard()).toMatchObject({ waiting: [{ jobs: 1 }] });
  });

  test('load times are what was seen, from when the slot was free', async () => {
    const [first, second, third] = day.plan.jobs.filter(
      ({ kind, pool }) => kind === 'image' && pool === 'standard',
    );
    if (first === undefined || second === undefined || third === undefined) throw new Error('too few images');
    const at = { machineId: 'standard-1' };
    day.watch.claimed({ jobId: first.id, ...at });
    await day.clock.advanceBy(10_000);
    day.watch.runStarted({ jobId: first.id, ...at });
    // Staged while the first one runs.
    day.watch.claimed({ jobId: second.id, ...at });
    await day.clock.advanceBy(20_000);
    day.watch.runEnded({ jobId: first.id, ...at, outcome: 'succeeded' });
    await day.clock.advanceBy(10_000);
    day.watch.runStarted({ jobId: second.id, ...at });
    day.watch.jobAsked(third.id);
    await day.look();
    expect(day.standard().waiting[0]?.loadMs).toBe(10_000);
  });

  test('arrivals are forgotten after the window', async () => {
    day.watch.jobAsked(jobOf('image').id);
    day.watch.claimed({ jobId: jobOf('image').id, machineId: 'standard-1' });
    await day.clock.advanceBy(15 * minute);
    expect(day.standard().arriving).toBeGreaterThan(0);
    await day.look();
    expect(day.standard().arriving).toBe(0);
  });
});
