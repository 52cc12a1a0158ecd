import { describe, expect, test } from 'vitest';
import { type ChaosReport, describeProblem, type MachineKind, runChaos, sumMarks } from './chaos.ts';
import { shrink } from './shrink.ts';

/**
 * EMP_CHAOS_SEEDS: how many seeds run with model machines, a third as many with production ones.
 * EMP_CHAOS_FROM: the first. EMP_CHAOS_SEED and EMP_CHAOS_MACHINES repeat one. EMP_CHAOS_SHRINK=1
 * deletes the faults of a broken seed that it does not take.
 */
const { EMP_CHAOS_SEED: one, EMP_CHAOS_MACHINES: kind, EMP_CHAOS_SHRINK: shrinks } = process.env;
const from = Number(one ?? process.env['EMP_CHAOS_FROM'] ?? 1);
const count = one === undefined ? Number(process.env['EMP_CHAOS_SEEDS'] ?? 12) : 1;
const range = (length: number) => Array.from({ length }, (_, index) => from + index);
const runs: [number, MachineKind][] = [
  ...range(kind === 'production' ? 0 : count).map((seed): [number, MachineKind] => [seed, 'model']),
  ...range(kind === 'model' ? 0 : Math.ceil(count / 3)).map((seed): [number, MachineKind] => [
    seed,
    'production',
  ]),
];
const timeout = 300_000;
const reports: ChaosReport[] = [];

/** What a hundred jobs and two dozen faults meet too rarely to be asked of a short set of seeds. */
const rare = [
  'a submit met a tombstone',
  'a claim was answered again',
  'a machine left',
  'a completion met an ended job',
  'a stale completion was refused',
  'a lapsed machine beat',
];

async function smallest(report: ChaosReport): Promise<ChaosReport> {
  if (shrinks !== '1') return report;
  const { seed, machineKind } = report;
  const breaks = async (faults: ChaosReport['faults']) =>
    (await runChaos({ seed, machineKind, faults })).problem !== null;
  return await runChaos({ seed, machineKind, faults: await shrink(report.faults, breaks) });
}

describe('chaos', () => {
  test.each(runs)(
    'seed %i with %s machines: every invariant holds and every job ends',
    { timeout },
    async (seed, machineKind) => {
      const report = await runChaos({ seed, machineKind });
      reports.push(report);
      if (report.problem !== null) expect.fail(describeProblem(await smallest(report)));
      expect(Object.values(report.ended).reduce((sum, jobs) => sum + jobs, 0)).toBe(100);
    },
  );

  test.runIf(count >= 12)('the seeds went through what chaos is for', () => {
    const missing = sumMarks(reports).missing();
    expect(count >= 100 ? missing : missing.filter((mark) => !rare.includes(mark))).toEqual([]);
  });

  test.each<MachineKind>(['model', 'production'])(
    'one seed gives one history with %s machines, step by step',
    { timeout },
    async (machineKind) => {
      const play = (seed: number) => runChaos({ seed, machineKind, stopMs: 120_000 });
      const [first, second] = [await play(from), await play(from)];
      expect(first.problem).toBeNull();
      expect([second.hash, second.steps]).toEqual([first.hash, first.steps]);
      expect((await play(from + 1)).hash).not.toBe(first.hash);
    },
  );

  test('a fault that is taken out of a script shifts nothing before it', { timeout }, async () => {
    const machineKind = 'model';
    const { faults } = await runChaos({ seed: from, machineKind, stopMs: 1 });
    const last = faults.at(-1);
    if (!last) expect.fail('the script is empty');
    const hashAt = async (script: typeof faults, stopMs: number) =>
      (await runChaos({ seed: from, machineKind, faults: script, stopMs })).hash;
    const shorter = faults.slice(0, -1);
    expect(await hashAt(shorter, last.atMs - 1)).toBe(await hashAt(faults, last.atMs - 1));
    expect(await hashAt(shorter, last.atMs + 1_000)).not.toBe(await hashAt(faults, last.atMs + 1_000));
  });
});
