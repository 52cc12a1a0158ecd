import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { choosePreemptions, type Preemptible } from './preemption.ts';

const run = (jobId: string, rank: number, progress = 0): Preemptible => ({ jobId, rank, progress });
const anywhere = () => true;

describe('preemption', () => {
  test('takes the run that stands last, for the most urgent job first, each run once', () => {
    const chosen = choosePreemptions({
      urgent: [
        { jobId: 'second', rank: -100 },
        { jobId: 'first', rank: -600 },
        { jobId: 'third', rank: -50 },
      ],
      running: [run('low', 600), run('mid', 300)],
      marginMs: 300,
      mayTake: anywhere,
    });
    expect(chosen).toEqual([
      { jobId: 'low', forJobId: 'first' },
      { jobId: 'mid', forJobId: 'second' },
    ]);
  });

  test('of runs that stand alike takes the one that has done least', () => {
    const running = [run('most', 600, 0.9), run('least', 600, 0.1), run('some', 600, 0.5)];
    const urgent = [{ jobId: 'u', rank: 0 }];
    expect(choosePreemptions({ urgent, running, marginMs: 1, mayTake: anywhere })).toEqual([
      { jobId: 'least', forJobId: 'u' },
    ]);
  });

  test('leaves alone what is not outranked by the margin, and machines that may not run the job', () => {
    const urgent = [{ jobId: 'u', rank: 0 }];
    const ask = (marginMs: number, mayTake = anywhere) =>
      choosePreemptions({ urgent, running: [run('r', 300)], marginMs, mayTake });
    expect(ask(300)).toHaveLength(1);
    expect(ask(301)).toEqual([]);
    expect(ask(0, () => false)).toEqual([]);
  });

  test('whatever there is: pairs are apart, allowed and outranked by the margin', () => {
    const ranks = fc.array(fc.integer({ min: -1_000, max: 1_000 }), { maxLength: 12 });
    fc.assert(
      fc.property(ranks, ranks, fc.nat(500), (waiting, working, marginMs) => {
        const urgent = waiting.map((rank, n) => ({ jobId: `u${n}`, rank }));
        const running = working.map((rank, n) => run(`r${n}`, rank));
        const mayTake = (jobId: string, { jobId: other }: Preemptible) =>
          (Number(jobId.slice(1)) + Number(other.slice(1))) % 3 !== 0;
        const chosen = choosePreemptions({ urgent, running, marginMs, mayTake });
        expect(new Set(chosen.map(({ jobId }) => jobId)).size).toBe(chosen.length);
        expect(new Set(chosen.map(({ forJobId }) => forJobId)).size).toBe(chosen.length);
        for (const { jobId, forJobId } of chosen) {
          const [worker, waiter] = [Number(jobId.slice(1)), Number(forJobId.slice(1))];
          expect((working[worker] ?? 0) - (waiting[waiter] ?? 0)).toBeGreaterThanOrEqual(marginMs);
          expect(mayTake(forJobId, run(jobId, 0))).toBe(true);
        }
      }),
    );
  });
});
