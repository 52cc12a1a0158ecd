import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type BoundJob, type BoundMachine, flowTimeBound } from './lower-bound.ts';

interface CaseJob extends BoundJob {
  model: number;
}

/** Loads of a case: ms to bring a model into a machine that holds another; 0 = loads are free. */
interface Case {
  jobs: CaseJob[];
  fleet: BoundMachine[];
  loadMs: number;
}

/**
 * Least Σ (end − arrival) over every order of the jobs on every choice of machines; Infinity where no
 * choice runs all. Each machine runs its jobs one by one without a break, each as early as it can, and
 * keeps the last model. Starting later than one could never makes anything end earlier, so this is all.
 */
function optimum({ jobs, fleet, loadMs }: Case): number {
  const freeMs = fleet.map((machine) => machine.startMs);
  const held = fleet.map(() => -1);
  const isDone = jobs.map(() => false);
  let best = Infinity;
  const place = (placed: number, flowMs: number): void => {
    if (flowMs >= best) return;
    if (placed === jobs.length) {
      best = flowMs;
      return;
    }
    jobs.forEach((job, j) => {
      if (isDone[j]) return;
      fleet.forEach((machine, m) => {
        if (machine.vramMb < job.vramMb) return;
        const [wasFreeMs, wasHeld] = [freeMs[m]!, held[m]!];
        const load = wasHeld === job.model ? 0 : loadMs;
        const endMs = Math.max(wasFreeMs, job.arrivalMs) + load + job.runMs / machine.speed;
        if (endMs > machine.endMs) return;
        freeMs[m] = endMs;
        held[m] = job.model;
        isDone[j] = true;
        place(placed + 1, flowMs + endMs - job.arrivalMs);
        freeMs[m] = wasFreeMs;
        held[m] = wasHeld;
        isDone[j] = false;
      });
    });
  };
  place(0, 0);
  return best;
}

const job = (arrivalMs: number, runMs: number, vramMb = 0, model = 0): CaseJob => ({
  arrivalMs,
  runMs,
  vramMb,
  model,
});
const machine = (fields: Partial<BoundMachine> = {}): BoundMachine => ({
  startMs: 0,
  endMs: 1e9,
  speed: 1,
  slots: 1,
  vramMb: 8,
  ...fields,
});

const cases = (maxJobs: number): fc.Arbitrary<Case> =>
  fc.record({
    jobs: fc.array(
      fc.record({
        arrivalMs: fc.integer({ min: 0, max: 60 }),
        runMs: fc.integer({ min: 1, max: 40 }),
        vramMb: fc.constantFrom(0, 8, 16, 24),
        model: fc.integer({ min: 0, max: 2 }),
      }),
      { minLength: 1, maxLength: maxJobs },
    ),
    fleet: fc.array(
      fc
        .record({
          startMs: fc.integer({ min: 0, max: 40 }),
          livesMs: fc.constantFrom(30, 80, 1_000, 1_000),
          speed: fc.constantFrom(0.7, 1, 1.8),
          vramMb: fc.constantFrom(8, 16, 24),
        })
        .map(({ startMs, livesMs, speed, vramMb }) => ({
          startMs,
          endMs: startMs + livesMs,
          speed,
          slots: 1,
          vramMb,
        })),
      { minLength: 1, maxLength: 3 },
    ),
    loadMs: fc.constantFrom(0, 0, 5, 30),
  });

describe('flowTimeBound', () => {
  test('one job on one machine is bound by its run', () => {
    expect(flowTimeBound([job(10, 40)], [machine({ speed: 2 })])).toBeCloseTo(20, 9);
  });

  test('the fastest machine that fits counts, not the fastest', () => {
    const fleet = [machine({ speed: 4, vramMb: 8 }), machine({ speed: 2, vramMb: 24 })];
    expect(flowTimeBound([job(0, 40, 24)], fleet)).toBeCloseTo(20, 9);
  });

  test('a machine that is gone before the job arrives counts for nothing', () => {
    const fleet = [machine({ speed: 4, endMs: 50 }), machine({ speed: 1 })];
    expect(flowTimeBound([job(60, 40)], fleet)).toBeCloseTo(40, 9);
  });

  test('a job that arrives before the first machine waits for it', () => {
    expect(flowTimeBound([job(0, 40)], [machine({ startMs: 100 })])).toBeCloseTo(140, 9);
  });

  test('on one machine the bound is the optimum: smallest first', () => {
    // 10, 30 and 60 ms of flow time.
    expect(flowTimeBound([job(0, 30), job(0, 10), job(0, 20)], [machine()])).toBeCloseTo(100, 9);
  });

  test('a machine with two slots works at twice its speed', () => {
    // Two machines of speed 1 need 10 + 10 + 20 ms; one of speed 2 that breaks runs off bounds it by 10/2 sums.
    const bound = flowTimeBound([job(0, 10), job(0, 10), job(0, 10)], [machine({ slots: 2 })]);
    expect(bound).toBeCloseTo(2.5 + 7.5 + 12.5 + 15, 9);
    expect(bound).toBeLessThanOrEqual(40);
  });

  test('jobs that need the one large card are bound by it, whatever else is idle', () => {
    const fleet = [machine({ vramMb: 24 }), ...Array.from({ length: 9 }, () => machine({ vramMb: 8 }))];
    const jobs = [job(0, 10, 24), job(0, 10, 24), job(0, 10, 24), job(0, 5)];
    expect(flowTimeBound(jobs, fleet)).toBeCloseTo(10 + 20 + 30 + 5, 9);
    expect(optimum({ jobs, fleet: fleet.slice(0, 3), loadMs: 0 })).toBeCloseTo(65, 9);
  });

  test('a stretch without any machine is waited through', () => {
    const fleet = [machine({ endMs: 10 }), machine({ startMs: 110 })];
    const bound = flowTimeBound([job(0, 10), job(0, 10)], fleet);
    expect(bound).toBeCloseTo(10 + 120, 9);
  });

  test('no jobs have no flow time', () => {
    expect(flowTimeBound([], [machine()])).toBe(0);
  });

  test.each([
    ['free loads', 0],
    ['loads', 15],
  ])('six jobs on three unlike machines with %s stay above the bound', (_name, loadMs) => {
    const fleet = [
      machine({ speed: 0.7 }),
      machine({ vramMb: 24, startMs: 5 }),
      machine({ speed: 1.8, endMs: 70 }),
    ];
    const jobs = [
      job(0, 30),
      job(3, 8, 24, 1),
      job(4, 20, 16, 1),
      job(9, 40, 0, 2),
      job(12, 5),
      job(20, 12, 8, 2),
    ];
    const best = optimum({ jobs, fleet, loadMs });
    const bound = flowTimeBound(jobs, fleet);
    expect(best).toBeLessThan(Infinity);
    expect(bound).toBeLessThanOrEqual(best + 1e-6);
    // Loose where loads cost something, but no more than they cost.
    expect(bound).toBeGreaterThan(0.5 * best - 6 * loadMs);
  });

  test('no schedule of a small case is below the bound', () => {
    fc.assert(
      fc.property(cases(5), (small) => {
        const best = optimum(small);
        fc.pre(best < Infinity);
        expect(flowTimeBound(small.jobs, small.fleet)).toBeLessThanOrEqual(best + 1e-6);
      }),
      { numRuns: 400 },
    );
  });

  test('more jobs never lower the bound, more machines never raise it', () => {
    fc.assert(
      fc.property(cases(5), (small) => {
        fc.pre(optimum({ ...small, loadMs: 0 }) < Infinity);
        const bound = flowTimeBound(small.jobs, small.fleet);
        const fewer = flowTimeBound(small.jobs.slice(1), small.fleet);
        expect(fewer).toBeLessThanOrEqual(bound + 1e-6);
        // Of a size that the fleet has already: a new size adds a cut, and with it a sharper bound.
        const larger = [...small.fleet, { ...small.fleet[0]!, startMs: 0, endMs: 1_000 }];
        expect(flowTimeBound(small.jobs, larger)).toBeLessThanOrEqual(bound + 1e-6);
      }),
      { numRuns: 200 },
    );
  });
});
