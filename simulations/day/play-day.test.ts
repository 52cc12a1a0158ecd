import { describe, expect, test } from 'vitest';
import { policies } from '#simulations/policies/catalogue.ts';
import type { DayPlan, PlannedJob, PlannedMachine } from './plan.ts';
import { type DayRun, playDay } from './play-day.ts';

const GB = 1e9;
const machine = (id: string, rest: Partial<PlannedMachine> = {}): PlannedMachine => ({
  id,
  askedMs: 0,
  startMs: 0,
  endMs: 1_200_000,
  ending: 'stays',
  away: null,
  drainMs: 30_000,
  gpu: 'card',
  pool: 'standard',
  vramMb: 12_000,
  ramMb: 32_000,
  diskBytes: 40 * GB,
  speed: 1,
  downBytesPerMs: 100_000,
  upBytesPerMs: 20_000,
  diskBytesPerMs: 1_000_000,
  usdPerHour: 0.2,
  ...rest,
});
const job = (id: string, rest: Partial<PlannedJob> = {}): PlannedJob => ({
  id,
  atMs: 20_000,
  customer: 'amber',
  kind: 'image',
  pool: 'standard',
  priority: 50,
  models: [],
  runMs: 10_000,
  vramMb: 0,
  failRuns: 0,
  ...rest,
});
const day = (rest: Partial<DayPlan>): DayPlan => ({
  scenario: 'test',
  seed: 1,
  load: 1,
  spanMs: 600_000,
  models: [
    { id: 'sd', kind: 'checkpoint', bytes: 2 * GB, vramMb: 4_000 },
    { id: 'xl', kind: 'checkpoint', bytes: 7 * GB, vramMb: 8_000 },
  ],
  jobs: [],
  machines: [],
  wanted: [],
  incidents: [],
  originBytesPerMs: null,
  ...rest,
});

const policy = (name: string) => {
  const found = policies.find((each) => each.name === name);
  if (found === undefined) throw new Error(`no policy ${name}`);
  return found;
};
const play = (plan: DayPlan, name = 'emp') => playDay(plan, { policy: policy(name) });
const jobIn = ({ log }: DayRun, id: string) => {
  const found = log.jobs.find(({ planned }) => planned.id === id);
  if (found === undefined) throw new Error(`no job ${id}`);
  return found;
};

/** Three machines, one of them lost in mid run, one told to go; twelve jobs, one that fails once. */
const eventful = day({
  machines: [
    machine('m1', { endMs: 60_000, ending: 'lost' }),
    machine('m2', { speed: 2 }),
    machine('m3', { startMs: 40_000, endMs: 300_000, ending: 'scale-in' }),
  ],
  jobs: Array.from({ length: 12 }, (_, index) =>
    job(`j${index}`, {
      atMs: 10_000 + index * 9_000,
      models: [index % 3 === 0 ? 'xl' : 'sd'],
      vramMb: index % 3 === 0 ? 8_000 : 4_000,
      runMs: 5_000 + (index % 4) * 12_000,
      failRuns: index === 5 ? 1 : 0,
    }),
  ),
});

describe('a day', () => {
  test.for(policies)(
    '$name: every job ends once, through a loss, a drain and a failure',
    async ({ name }) => {
      const run = await play(eventful, name);
      expect(run.invariants.violated).toEqual([]);
      expect(run.log.jobs.map(({ ended }) => ended)).toEqual(eventful.jobs.map(() => 'succeeded'));
      expect(jobIn(run, 'j5').executions.length).toBeGreaterThanOrEqual(2);
      for (const { executions, planned } of run.log.jobs) {
        const last = executions.at(-1);
        const { speed } = last?.machine.planned ?? { speed: Number.NaN };
        expect((last?.endedMs ?? 0) - (last?.startedMs ?? 0)).toBeCloseTo(planned.runMs / speed, 0);
      }
    },
  );

  test('the same plan gives the same history, another policy another one', async () => {
    const [first, second, other] = [
      await play(eventful),
      await play(eventful),
      await play(eventful, 'random'),
    ];
    expect([second.traceHash, second.events]).toEqual([first.traceHash, first.events]);
    expect(other.traceHash).not.toBe(first.traceHash);
  });

  test('a model takes the time of its bytes over the link and from disk, once', async () => {
    const run = await play(
      day({
        machines: [machine('m1')],
        jobs: [
          job('cold', { models: ['xl'], vramMb: 8_000 }),
          job('warm', { models: ['xl'], vramMb: 8_000, atMs: 300_000 }),
        ],
      }),
    );
    const preparing = (id: string) => {
      const [execution] = jobIn(run, id).executions;
      return (execution?.startedMs ?? 0) - (execution?.claimedMs ?? 0);
    };
    // 7 GB at 100 MB/s and then at 1 GB/s, and some round trips.
    expect(preparing('cold')).toBeGreaterThan(77_000);
    expect(preparing('cold')).toBeLessThan(80_000);
    expect(preparing('warm')).toBeLessThan(2_000);
    expect(run.log.machines[0]?.downloadBytes).toBeCloseTo(7 * GB, -7);
  });

  test('an idle machine on its slow clock starts a job as soon as any other', async () => {
    const run = await play(
      day({ machines: [machine('m1')], jobs: [job('early'), job('late', { atMs: 500_000 })] }),
    );
    const delay = (id: string) => (jobIn(run, id).executions[0]?.startedMs ?? 0) - jobIn(run, id).arrivalMs;
    expect(delay('late')).toBeLessThan(1_000);
    expect(run.log.machines[0]?.endMs ?? null).toBeNull();
  });

  test('clairvoyant has the model there before the job; emp fetches it when the job has come', async () => {
    const plan = day({
      machines: [machine('m1')],
      jobs: [
        job('first', { atMs: 20_000 }),
        ...Array.from({ length: 5 }, (_, index) =>
          job(`later-${index}`, { atMs: 300_000 + index * 30_000, models: ['xl'], vramMb: 8_000 }),
        ),
      ],
    });
    const wait = async (name: string) => {
      const [execution] = jobIn(await play(plan, name), 'later-0').executions;
      return (execution?.startedMs ?? 0) - 300_000;
    };
    expect(await wait('emp')).toBeGreaterThan(70_000);
    // Only from disk into memory.
    expect(await wait('clairvoyant')).toBeLessThan(10_000);
  });

  test('on a static fleet clairvoyant comes close to the best schedule there is', async () => {
    const runs = [30_000, 20_000, 20_000, 10_000, 10_000, 5_000];
    const plan = day({
      machines: [machine('m1'), machine('m2', { speed: 2 })],
      jobs: runs.map((runMs, index) => job(`j${index}`, { runMs, atMs: 20_000 + index })),
    });
    const { log } = await play(plan, 'clairvoyant');
    const flow = log.jobs.reduce((sum, { endMs, arrivalMs }) => sum + (endMs ?? 0) - arrivalMs, 0);
    const best = leastFlow(runs, [1, 2]);
    expect(flow).toBeGreaterThanOrEqual(best);
    // Jobs are taken in order of age, which the best schedule need not do.
    expect(flow).toBeLessThan(1.6 * best);
  });

  test('a zombie ends nothing twice, and takes jobs again when it is back', async () => {
    const run = await play(
      day({
        machines: [
          machine('m1', { ending: 'lost', endMs: 500_000, away: { fromMs: 40_000, untilMs: 240_000 } }),
        ],
        jobs: [job('cut', { runMs: 60_000 }), job('late', { atMs: 100_000 })],
      }),
    );
    expect(run.invariants.violated).toEqual([]);
    const runs = jobIn(run, 'cut').executions;
    expect(runs.map(({ outcome }) => outcome)).toEqual(['lost', 'succeeded']);
    expect(runs[1]?.claimedMs).toBeGreaterThan(240_000);
    expect(jobIn(run, 'late').ended).toBe('succeeded');
  });

  test('a job that fails once fails on one machine and succeeds on the next', async () => {
    const run = await play(
      day({ machines: [machine('m1'), machine('m2')], jobs: [job('once', { failRuns: 1 }), job('other')] }),
    );
    expect(jobIn(run, 'once').executions.map(({ outcome }) => outcome)).toEqual(['failed', 'succeeded']);
  });

  test('a job that never succeeds is dead, and its end is told once', async () => {
    const run = await play(day({ machines: [machine('m1')], jobs: [job('bad', { failRuns: 'poison' })] }));
    expect(jobIn(run, 'bad')).toMatchObject({ ended: 'dead' });
    expect(jobIn(run, 'bad').executions).toHaveLength(3);
  });
});

/** The least sum of ends over every order on every machine; no loads. */
function leastFlow(runs: readonly number[], speeds: readonly number[]): number {
  let least = Number.POSITIVE_INFINITY;
  const go = (left: readonly number[], free: readonly number[], sum: number) => {
    if (left.length === 0) least = Math.min(least, sum);
    for (const [at, run] of left.entries())
      for (const [index, speed] of speeds.entries()) {
        const end = (free[index] ?? 0) + run / speed;
        if (sum + end < least) go(left.toSpliced(at, 1), free.with(index, end), sum + end);
      }
  };
  go(
    runs,
    speeds.map(() => 0),
    0,
  );
  return least;
}
