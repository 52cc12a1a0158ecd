import { describe, expect, test } from 'vitest';
import { describeProblem, playScript, runChaos } from './chaos.ts';
import { drawScript, type MachineKind } from './chaos-script.ts';

/**
 * A short set, smaller than a whole run: the hunt is `emp sim run chaos`. EMP_CHAOS_SEEDS: how many
 * seeds, EMP_CHAOS_FROM: the first.
 */
const from = Number(process.env['EMP_CHAOS_FROM'] ?? 1);
const count = Number(process.env['EMP_CHAOS_SEEDS'] ?? 6);
const seeds = Array.from({ length: count }, (_, index) => from + index);
const size = { machines: 6, jobs: 80, chaosMs: 150_000 };
const timeout = 300_000;

describe('chaos', () => {
  test.each(seeds)('seed %i: every invariant holds and every job ends', { timeout }, async (seed) => {
    const report = await runChaos({ seed, ...size });
    const repeat = `EMP_CHAOS_FROM=${seed} EMP_CHAOS_SEEDS=1 npm run test:one -- simulations/chaos.test.ts`;
    if (report.problem !== null) expect.fail(describeProblem(report, repeat));
    const ended = Object.values(report.ended).reduce((sum, jobs) => sum + jobs, 0);
    expect(ended + report.refused).toBe(size.jobs);
    expect(report.audits).toBeGreaterThan(10);
  });

  test.each<MachineKind>(['model', 'production'])(
    'one seed gives one history with %s machines, step by step',
    { timeout },
    async (machineKind) => {
      const play = (seed: number) => runChaos({ seed, machineKind, ...size, stopMs: 60_000 });
      const [first, second] = [await play(from), await play(from)];
      expect(first.problem).toBeNull();
      expect([second.hash, second.steps]).toEqual([first.hash, first.steps]);
      expect((await play(from + 1)).hash).not.toBe(first.hash);
    },
  );

  test('a fault that is taken out of a script shifts nothing before it', { timeout }, async () => {
    const script = drawScript({ seed: from, machineKind: 'model', ...size });
    const last = script.faults.at(-1);
    if (!last) expect.fail('the script is empty');
    const hashAt = async (faults: typeof script.faults, stopMs: number) =>
      (await playScript({ ...script, faults }, { stopMs })).hash;
    const shorter = script.faults.slice(0, -1);
    expect(await hashAt(shorter, last.atMs - 1)).toBe(await hashAt(script.faults, last.atMs - 1));
    expect(await hashAt(shorter, last.atMs + 1_000)).not.toBe(await hashAt(script.faults, last.atMs + 1_000));
  });
});
