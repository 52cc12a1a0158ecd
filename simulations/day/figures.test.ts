import { describe, expect, test } from 'vitest';
import { runFigures, simResult } from './figures.ts';
import { logOf, planOf, ranOnce, type Told } from './figures-fixture.ts';
import type { DayPlan } from './plan.ts';
import { type PolicyReport, SimResult } from './result.ts';

const head = {
  scenario: 'small',
  seeds: [1],
  load: 1,
  spanMs: 100_000,
  wallMs: 7,
  command: 'emp sim run small',
  versions: { emp: '0.1.0', node: '24.0.0' },
  invariants: { checked: 10, violated: 0 },
  incidents: [],
};

const figuresOf = (plan: DayPlan, told: Told[], closeMs: number) =>
  runFigures(logOf(plan, told, closeMs), { wallMs: 5, traceHash: 'abc' });

const reportOf = (plan: DayPlan, told: Told[], closeMs: number): PolicyReport =>
  simResult(head, { fifo: [figuresOf(plan, told, closeMs)] }).policies['fifo']!;

/**
 * Two machines, four jobs, worked out by hand:
 * - a (llm, 2 s) comes at 0, is claimed by `slow` at once, prepares 3 s, runs 4 s (speed 0.5): ends at 7 s.
 * - b (image, 10 s) comes at 1 s, waits for `fast` until it starts at 2 s, runs 5 s (speed 2): ends at 7 s.
 * - c (image, 10 s) comes at 2 s, waits for `fast` until 7 s, is lost with it at 9 s, which the queue
 *   learns at 12 s; `slow`, idle since 7 s, takes it and runs it 20 s: ends at 32 s.
 * - d (llm) comes at 8 s, needs more memory than any card has, and is cancelled at 20 s.
 */
function byHand(): { plan: DayPlan; told: Told[]; closeMs: number } {
  const plan = planOf({
    spanMs: 40_000,
    jobs: [
      { id: 'a', kind: 'llm', pool: 'fast-lane', customer: 'ann', runMs: 2_000 },
      { id: 'b', atMs: 1_000, customer: 'bob', runMs: 10_000, vramMb: 16_000 },
      { id: 'c', atMs: 2_000, customer: 'ann', runMs: 10_000 },
      { id: 'd', atMs: 8_000, kind: 'llm', pool: 'fast-lane', customer: 'cyd', vramMb: 80_000 },
    ],
    machines: [
      { id: 'slow', vramMb: 12_000, speed: 0.5, usdPerHour: 0.09 },
      {
        id: 'fast',
        vramMb: 24_000,
        speed: 2,
        usdPerHour: 0.36,
        startMs: 2_000,
        ending: 'lost',
        endMs: 9_000,
      },
    ],
    wanted: [
      { atMs: 0, machines: 1 },
      { atMs: 1_500, machines: 2 },
    ],
  });
  const told: Told[] = [
    { atMs: 0, tell: 'up', machine: 'slow' },
    { atMs: 2_000, tell: 'up', machine: 'fast' },
    { atMs: 2_500, tell: 'bytes', machine: 'slow', bytes: 4_000 },
    { atMs: 8_500, tell: 'bytes', machine: 'fast', bytes: 1_000 },
    ...ranOnce('a', 'slow', { atMs: 0, claimedMs: 0, readyMs: 3_000, endMs: 7_000 }),
    ...ranOnce('b', 'fast', { atMs: 1_000, claimedMs: 2_000, endMs: 7_000 }),
    { atMs: 2_000, tell: 'accepted', job: 'c' },
    { atMs: 7_000, tell: 'claimed', job: 'c', machine: 'fast' },
    { atMs: 8_000, tell: 'started', job: 'c', machine: 'fast' },
    { atMs: 9_000, tell: 'down', machine: 'fast', as: 'lost' },
    { atMs: 12_000, tell: 'runLost', job: 'c', outcome: 'lost' },
    { atMs: 12_000, tell: 'claimed', job: 'c', machine: 'slow' },
    { atMs: 12_000, tell: 'started', job: 'c', machine: 'slow' },
    { atMs: 32_000, tell: 'ranOut', job: 'c', machine: 'slow', outcome: 'succeeded' },
    { atMs: 32_000, tell: 'ended', job: 'c', as: 'succeeded' },
    { atMs: 8_000, tell: 'accepted', job: 'd' },
    { atMs: 20_000, tell: 'ended', job: 'd', as: 'cancelled' },
  ];
  return { plan, told, closeMs: 40_000 };
}

describe('figures of one small day, by hand', () => {
  const { plan, told, closeMs } = byHand();
  const report = reportOf(plan, told, closeMs);
  // Waits: a 7 − 4 = 3 s, b 6 − 5 = 1 s, c 30 − 20 = 10 s; d was cancelled and has none.

  test('jobs are counted by their end', () => {
    expect(report).toMatchObject({ jobs: 4, finished: 3, dead: 0, wallMs: 5 });
  });

  test('a wait is arrival to end, less the run on the machine that ran it', () => {
    expect(report.waitMeanMs).toBeCloseTo(14_000 / 3, 6);
    expect(report).toMatchObject({ waitP50Ms: 3_000, waitP95Ms: 10_000, waitP99Ms: 10_000 });
  });

  test('waits are told by pool and by kind', () => {
    expect(report.byPool).toEqual({
      'fast-lane': { jobs: 1, meanMs: 3_000, p50Ms: 3_000, p95Ms: 3_000, p99Ms: 3_000, maxMs: 3_000 },
      standard: { jobs: 2, meanMs: 5_500, p50Ms: 1_000, p95Ms: 10_000, p99Ms: 10_000, maxMs: 10_000 },
    });
    expect(report.byKind['llm']).toEqual(report.byPool['fast-lane']);
  });

  test('short jobs are those of at most 3 s at speed 1', () => {
    expect(report.shortWaitP95Ms).toBe(3_000);
  });

  test('a wait of exactly 10 s is not under 10 s', () => {
    expect(report.waitUnder10s).toBeCloseTo(2 / 3, 9);
  });

  test('download wait is preparing, and waiting beside an idle slot that fits', () => {
    // a prepares 3 s, c 1 s on `fast`. b fits `fast` only, which it takes as it starts. c fits both, which
    // are busy until 7 s, and is leased until 12 s. d fits none.
    expect(report.downloadWaitMs).toBeCloseTo((3_000 + 1_000) / 4, 9);
  });

  test('downloads are the bytes of all machines', () => {
    expect(report.downloadBytes).toBe(5_000);
  });

  test('utilisation is running time over the time of living slots', () => {
    // slow: 4 + 20 s of 40 s; fast: 5 + 1 s of 7 s, nothing after its loss.
    expect(report.utilisation).toBeCloseTo(30 / 47, 9);
  });

  test('machine hours and cost go from start to end', () => {
    expect(report.machineHours).toBeCloseTo(47 / 3_600, 9);
    expect(report.costUsd).toBeCloseTo((40 * 0.09 + 7 * 0.36) / 3_600, 9);
    expect(report.costPer1000JobsUsd).toBeCloseTo((report.costUsd / 3) * 1_000, 9);
  });

  test('an execution that did not end its job is a repeated run', () => {
    expect(report.repeatedRuns).toBe(1);
  });

  test("fairness is Jain's index over wait / run of each customer", () => {
    const [ann, bob] = [13_000 / 12_000, 1_000 / 10_000];
    expect(report.fairness).toBeCloseTo((ann + bob) ** 2 / (2 * (ann ** 2 + bob ** 2)), 9);
  });

  test('the certificate divides the bound by the flow time reached', () => {
    // Alone on the fastest that fits and lives on: a 1 s, b 5 s, c 5 s. Flow time 7 + 6 + 30 s.
    expect(report.lowerBoundRatio).toBeGreaterThanOrEqual(11 / 43);
    expect(report.lowerBoundRatio).toBeLessThan(1);
  });

  test('series tell what was there at the end of each span', () => {
    const { series } = report;
    expect(series.stepMs).toBe(1_000);
    expect(series.machinesWanted).toHaveLength(40);
    expect(series.machinesWanted.slice(0, 3)).toEqual([1, 2, 2]);
    expect(series.machinesRunning.slice(0, 3)).toEqual([1, 2, 2]);
    expect(series.machinesRunning.slice(7, 10)).toEqual([2, 1, 1]);
    expect(series.machinesLost.indexOf(1)).toBe(9);
    expect(series.arrived.slice(0, 3)).toEqual([1, 1, 1]);
    expect(series.ended[7]).toBe(2);
    expect(series.ended[32]).toBe(1);
    // At 1 s b has just come; at 2 s b is taken and c has come.
    expect(series.queueDepth['standard']!.slice(0, 8)).toEqual([1, 1, 1, 1, 1, 1, 0, 0]);
    expect(series.queueDepth['fast-lane']!.slice(6, 9)).toEqual([0, 1, 1]);
    expect(series.oldestAgeMs['standard']!.slice(0, 7)).toEqual([0, 0, 1_000, 2_000, 3_000, 4_000, 0]);
    expect(series.waitP95Ms[7]).toBe(3_000);
    expect(series.waitP95Ms[8]).toBe(null);
    expect(series.downloadBytes[2]).toBe(4_000);
    // slow runs from 3 s on, fast from 2 s on.
    expect(series.busyShare.slice(1, 4)).toEqual([0, 0.5, 1]);
  });

  test('the result is what a reader of results accepts', () => {
    const result = simResult(head, { fifo: [figuresOf(plan, told, closeMs)] });
    expect(SimResult.parse(JSON.parse(JSON.stringify(result)))).toEqual(result);
  });
});

describe('other ends', () => {
  test('jobs that died, failed or were cancelled have no wait', () => {
    const plan = planOf({ jobs: [{ id: 'a' }, { id: 'b' }, { id: 'c' }] });
    const told: Told[] = (['dead', 'failed', 'cancelled'] as const).flatMap((as, index) => {
      const job = plan.jobs[index]!.id;
      return [
        { atMs: 0, tell: 'accepted', job },
        { atMs: 10, tell: 'ended', job, as },
      ];
    });
    expect(reportOf(plan, told, 100)).toMatchObject({ jobs: 3, finished: 0, dead: 2, waitMeanMs: 0 });
    expect(figuresOf(plan, told, 100).waits).toEqual([]);
  });

  test('a log that is still open has no figures', () => {
    const { plan } = byHand();
    const log = logOf(plan, [], 10);
    log.closedMs = null;
    expect(() => runFigures(log, { wallMs: 0, traceHash: '' })).toThrow(/call close\(\)/);
  });
});

describe('after the day', () => {
  test('a machine that stays is paid for as long as it runs something', () => {
    const plan = planOf({
      spanMs: 10_000,
      jobs: [{ id: 'j', runMs: 20_000 }],
      machines: [{ id: 'busy' }, { id: 'idle' }],
    });
    const told: Told[] = [
      { atMs: 0, tell: 'up', machine: 'busy' },
      { atMs: 0, tell: 'up', machine: 'idle' },
      ...ranOnce('j', 'busy', { atMs: 5_000, claimedMs: 5_000, endMs: 25_000 }),
    ];
    const { machineMs, slotMs, busyMs } = figuresOf(plan, told, 60_000);
    expect([machineMs, slotMs, busyMs]).toEqual([35_000, 35_000, 20_000]);
  });
});

describe('several seeds and policies', () => {
  /** One job that waits this long on a machine that is there for the whole of the log. */
  const waited = (waitMs: number) =>
    figuresOf(
      planOf({ jobs: [{ id: 'j' }], machines: [{ id: 'm' }] }),
      [
        { atMs: 0, tell: 'up', machine: 'm' },
        ...ranOnce('j', 'm', { atMs: 0, claimedMs: waitMs, endMs: waitMs + 1_000 }),
      ],
      100_000,
    );

  test('sums are over the seeds, intervals are per seed', () => {
    const { policies } = simResult(
      { ...head, seeds: [1, 2, 3] },
      { fifo: [waited(1_000), waited(2_000), waited(6_000)] },
    );
    const report = policies['fifo']!;
    expect(report).toMatchObject({ jobs: 3, finished: 3, waitMeanMs: 3_000, waitP50Ms: 2_000 });
    expect(report.intervals.jobs).toEqual({ mean: 1, halfWidth: 0, values: [1, 1, 1] });
    const { mean, halfWidth, values } = report.intervals.waitMeanMs!;
    expect([mean, values]).toEqual([3_000, [1_000, 2_000, 6_000]]);
    // s = sqrt(7) s, t(2) = 4.303.
    expect(halfWidth).toBeCloseTo((4.303 * 1_000 * Math.sqrt(7)) / Math.sqrt(3), 6);
    expect(report.intervals.wallMs).toBeUndefined();
  });

  test('Y1 is 0 for fifo, 1 for clairvoyant and the share of the way between them for others', () => {
    const { policies } = simResult(head, {
      fifo: [waited(10_000)],
      emp: [waited(3_000)],
      random: [waited(14_000)],
      clairvoyant: [waited(2_000)],
    });
    const y1 = Object.fromEntries(
      Object.entries(policies).map(([name, p]) => [name, p.avoidableWaitRemoved]),
    );
    expect(y1).toEqual({ fifo: 0, emp: 0.875, random: -0.5, clairvoyant: 1 });
    expect(policies['emp']!.intervals.avoidableWaitRemoved).toEqual({
      mean: 0.875,
      halfWidth: 0,
      values: [0.875],
    });
  });

  test('Y1 is null where fifo or clairvoyant was not run, or nothing was avoidable', () => {
    expect(
      simResult(head, { emp: [waited(1)], fifo: [waited(9)] }).policies['emp']!.avoidableWaitRemoved,
    ).toBe(null);
    const same = simResult(head, { fifo: [waited(9)], clairvoyant: [waited(9)] }).policies['fifo']!;
    expect(same.avoidableWaitRemoved).toBe(null);
    expect(same.intervals.avoidableWaitRemoved).toBeUndefined();
  });

  test('the trace hash covers every run and its order', () => {
    const [a, b] = [
      { ...waited(1), traceHash: 'a' },
      { ...waited(1), traceHash: 'b' },
    ];
    const hash = (runs: (typeof a)[]) => simResult({ ...head, seeds: [1, 2] }, { fifo: runs }).traceHash;
    expect(hash([a, b])).toBe(hash([a, b]));
    expect(hash([a, b])).not.toBe(hash([b, a]));
  });

  test('a policy without the run of each seed is refused', () => {
    expect(() => simResult({ ...head, seeds: [1, 2] }, { fifo: [waited(1)] })).toThrow(
      'policy fifo has 1 runs for 2 seeds',
    );
  });
});
