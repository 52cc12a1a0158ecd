import { describe, expect, test } from 'vitest';
import { type ChaosReport, describeProblem, runChaos, sumMarks } from './chaos.ts';
import { shrink } from './shrink.ts';

/** EMP_CHAOS_SEED repeats one seed; EMP_CHAOS_SEEDS is how many run; EMP_CHAOS_FROM is the first. */
const one = process.env['EMP_CHAOS_SEED'];
const from = Number(one ?? process.env['EMP_CHAOS_FROM'] ?? 1);
const count = one === undefined ? Number(process.env['EMP_CHAOS_SEEDS'] ?? 24) : 1;
const seeds = Array.from({ length: count }, (_, index) => from + index);
const perSeedMs = 60_000;
const reports: ChaosReport[] = [];

/** EMP_CHAOS_SHRINK=1: deletes faults while the seed still breaks, to see what it takes. */
async function smallest(report: ChaosReport): Promise<ChaosReport> {
  if (process.env['EMP_CHAOS_SHRINK'] !== '1') return report;
  const { seed } = report;
  const faults = await shrink(
    report.faults,
    async (candidate) => (await runChaos({ seed, faults: candidate })).problem !== null,
  );
  return await runChaos({ seed, faults });
}

describe('chaos', () => {
  test.each(seeds)(
    'seed %i: every invariant holds and every job ends',
    { timeout: 10 * perSeedMs },
    async (seed) => {
      const report = await runChaos({ seed });
      reports.push(report);
      if (report.problem !== null) expect.fail(describeProblem(await smallest(report)));
      expect(Object.values(report.ended).reduce((sum, jobs) => sum + jobs, 0)).toBe(100);
    },
  );

  test.runIf(count >= 24)('the seeds went through everything that chaos is for', () => {
    expect(sumMarks(reports).missing()).toEqual([]);
  });

  test('one seed gives one history, step by step', { timeout: 2 * perSeedMs }, async () => {
    const [first, second] = [await runChaos({ seed: from }), await runChaos({ seed: from })];
    expect(second.hash).toBe(first.hash);
    expect(second.steps).toBe(first.steps);
    expect((await runChaos({ seed: from + 1 })).hash).not.toBe(first.hash);
  });

  test('a fault that is taken out of a script shifts nothing before it', {
    timeout: 2 * perSeedMs,
  }, async () => {
    const { faults } = await runChaos({ seed: from, stopMs: 1 });
    const last = faults.at(-1);
    if (!last) expect.fail('the script is empty');
    const hashAt = async (script: typeof faults, stopMs: number) =>
      (await runChaos({ seed: from, faults: script, stopMs })).hash;
    expect(await hashAt(faults.slice(0, -1), last.atMs - 1)).toBe(await hashAt(faults, last.atMs - 1));
    expect(await hashAt(faults.slice(0, -1), last.atMs + 1_000)).not.toBe(
      await hashAt(faults, last.atMs + 1_000),
    );
  });
});
