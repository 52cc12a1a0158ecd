import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { logOf, planOf, type Told } from './figures-fixture.ts';
import { certificate } from './lower-bound.ts';
import type { DayLog, LoggedJob, LoggedMachine } from './run-log.ts';
import { goodDecisions } from './yardsticks.ts';

const models = ['a', 'b', 'c'].map((id, index) => ({
  id,
  kind: 'checkpoint' as const,
  bytes: (index + 1) * 20_000,
  vramMb: 8,
}));

interface Drawn {
  machines: { startMs: number; livesMs: number; vramMb: number; speed: number; slots: number }[];
  jobs: {
    atMs: number;
    runMs: number;
    vramMb: number;
    model: number;
    machine: number;
    holdMs: number;
    prepareMs: number;
  }[];
  changes: {
    atMs: number;
    machine: number;
    model: number;
    kind: 'onDisk' | 'evicted' | 'loaded' | 'unloaded';
  }[];
}

const ms = (max: number) => fc.integer({ min: 0, max });
const days: fc.Arbitrary<Drawn> = fc.record({
  machines: fc.array(
    fc.record({
      startMs: ms(20_000),
      livesMs: fc.constantFrom(40_000, 90_000, 500_000),
      vramMb: fc.constantFrom(8, 16),
      speed: fc.constantFrom(0.5, 1, 2),
      slots: fc.constantFrom(1, 1, 2),
    }),
    { minLength: 1, maxLength: 4 },
  ),
  jobs: fc.array(
    fc.record({
      atMs: ms(100_000),
      runMs: fc.integer({ min: 500, max: 40_000 }),
      vramMb: fc.constantFrom(0, 8, 16),
      model: ms(3),
      machine: ms(3),
      holdMs: fc.constantFrom(0, 0, 3_000),
      prepareMs: ms(9_000),
    }),
    { maxLength: 10 },
  ),
  changes: fc.array(
    fc.record({
      atMs: ms(120_000),
      machine: ms(3),
      model: ms(2),
      kind: fc.constantFrom('onDisk', 'loaded', 'unloaded', 'evicted'),
    }),
    { minLength: 1, maxLength: 20 },
  ),
});

/** A log in which each job goes to the machine that was drawn for it, as soon as a slot is free. */
function play({ machines, jobs, changes }: Drawn): DayLog {
  const plan = planOf({
    spanMs: 200_000,
    models,
    machines: machines.map(({ vramMb, speed }, i) => ({ id: `m${i}`, vramMb, speed })),
    jobs: jobs.map(({ runMs, vramMb, model }, i) => ({
      id: `j${i}`,
      runMs,
      vramMb,
      models: models[model] === undefined ? [] : [models[model].id],
    })),
  });
  const told: Told[] = machines.flatMap(({ startMs, livesMs, slots }, i): Told[] => [
    { atMs: startMs, tell: 'up', machine: `m${i}`, slots },
    { atMs: startMs + livesMs, tell: 'down', machine: `m${i}`, as: 'lost' },
  ]);
  const free = machines.map(({ startMs, slots }) => new Array<number>(slots).fill(startMs));
  const order = jobs.map((job, i) => ({ job, i })).sort((a, b) => a.job.atMs - b.job.atMs);
  for (const { job, i } of order) {
    const m = job.machine % machines.length;
    const { startMs, livesMs, speed, vramMb } = machines[m]!;
    const slots = free[m]!;
    const claimedMs = Math.max(job.atMs + job.holdMs, Math.min(...slots));
    told.push({ atMs: job.atMs, tell: 'accepted', job: `j${i}` });
    if (claimedMs >= startMs + livesMs || vramMb < job.vramMb) continue;
    const startedMs = claimedMs + job.prepareMs;
    const endMs = startedMs + job.runMs / speed;
    const goneMs = startMs + livesMs;
    slots[slots.indexOf(Math.min(...slots))] = Math.min(endMs, goneMs);
    told.push({ atMs: claimedMs, tell: 'claimed', job: `j${i}`, machine: `m${m}` });
    if (startedMs < goneMs) told.push({ atMs: startedMs, tell: 'started', job: `j${i}`, machine: `m${m}` });
    if (endMs > goneMs) {
      told.push({ atMs: goneMs, tell: 'runLost', job: `j${i}`, outcome: 'lost' });
      continue;
    }
    told.push({ atMs: endMs, tell: 'ranOut', job: `j${i}`, machine: `m${m}`, outcome: 'succeeded' });
    told.push({ atMs: endMs, tell: 'ended', job: `j${i}`, as: 'succeeded' });
  }
  for (const { atMs, machine, model, kind } of changes) {
    const m = machine % machines.length;
    if (atMs < machines[m]!.startMs) continue;
    told.push({ atMs, tell: kind, machine: `m${m}`, model: models[model]!.id });
  }
  return logOf(plan, told, 700_000);
}

/** End of a run of `workMs` on `machine`, were the job given to it at `claimedMs`: read off the whole log. */
function wouldEnd(
  log: DayLog,
  machine: LoggedMachine,
  given: { job: LoggedJob; claimedMs: number; workMs: number },
): number {
  const { job, claimedMs, workMs } = given;
  const goneMs = machine.endMs ?? Infinity;
  if (machine.startMs > claimedMs || goneMs <= claimedMs) return Infinity;
  if (machine.planned.vramMb < job.planned.vramMb) return Infinity;
  const before = log.jobs
    .flatMap((other) => (other === job ? [] : other.executions))
    .filter(
      (run) => run.machine === machine && run.claimedMs <= claimedMs && (run.endedMs ?? goneMs) > claimedMs,
    );
  // Of runs that are claimed in one instant, the first in the log was there first.
  const ends = before.map((run) => Math.min(run.endedMs ?? goneMs, goneMs)).sort((a, b) => a - b);
  const freeMs = ends.length < machine.slots ? claimedMs : ends[ends.length - machine.slots]!;
  const [id] = job.planned.models;
  const index = models.findIndex((model) => model.id === id);
  const own = log.residency.filter((event) => event.machine === machine && event.model === index);
  const lastOf = (...kinds: string[]) =>
    own.filter(({ atMs, kind }) => atMs < freeMs && kinds.includes(kind)).at(-1)?.kind;
  let readyMs = freeMs;
  if (index >= 0) {
    const { bytes } = models[index]!;
    const disk = lastOf('onDisk', 'loaded', 'evicted');
    const memory = lastOf('loaded', 'unloaded', 'evicted');
    if (disk === undefined || disk === 'evicted') {
      const arrival =
        own.find(({ atMs, kind }) => atMs >= freeMs && (kind === 'onDisk' || kind === 'loaded'))?.atMs ??
        Infinity;
      readyMs = Math.min(freeMs + bytes / machine.planned.downBytesPerMs, arrival);
    }
    if (memory !== 'loaded') readyMs += bytes / machine.planned.diskBytesPerMs;
  }
  const endMs = readyMs + workMs / machine.planned.speed;
  return endMs <= goneMs ? endMs : Infinity;
}

function plainly(log: DayLog): { good: number; judged: number } {
  let [good, judged] = [0, 0];
  for (const job of log.jobs) {
    for (const run of job.executions) {
      judged++;
      const endMs = run.outcome === 'succeeded' ? run.endedMs! : Infinity;
      const workMs =
        run.outcome === 'succeeded'
          ? (run.endedMs! - run.startedMs!) * run.machine.planned.speed
          : job.planned.runMs;
      const others = log.machines.filter((machine) => machine !== run.machine);
      const bestMs = Math.min(
        endMs,
        ...others.map((machine) => wouldEnd(log, machine, { job, claimedMs: run.claimedMs, workMs })),
      );
      const slackMs = Math.max(1_000, 0.05 * (bestMs - run.claimedMs));
      if (bestMs === Infinity || endMs - bestMs <= slackMs + 1e-6) good++;
    }
  }
  return { good, judged };
}

/** Claims of one instant have an order of their own, which a plain reading cannot see. */
function hasTies(log: DayLog): boolean {
  const claims = log.jobs.flatMap((job) => job.executions.map((run) => run.claimedMs));
  return new Set(claims).size < claims.length;
}

describe('yardsticks of random small days', () => {
  test('Y2 agrees with a plain reading of its definition', () => {
    let [good, judged] = [0, 0];
    fc.assert(
      fc.property(days, (drawn) => {
        const log = play(drawn);
        // A log without any model says less, and is read in another way.
        fc.pre(!hasTies(log) && log.residency.length > 0);
        const found = goodDecisions(log);
        expect(found).toEqual(plainly(log));
        good += found.good;
        judged += found.judged;
      }),
      { numRuns: 500 },
    );
    // Both answers were met, often.
    expect(good).toBeGreaterThan(judged / 10);
    expect(good).toBeLessThan(judged * 0.95);
  });

  test('no log ends its jobs sooner than the certificate allows', () => {
    fc.assert(
      fc.property(days, (drawn) => {
        const { boundMs, flowMs } = certificate(play(drawn));
        expect(boundMs).toBeLessThanOrEqual(flowMs + 1e-6);
      }),
      { numRuns: 500 },
    );
  });
});
