import { describe, expect, test } from 'vitest';
import { mayRun } from './chaos-fleet.ts';
import type { PlannedJob } from './chaos-jobs.ts';
import type { ChaosScript } from './chaos-script.ts';
import { chaosDefaults, drawScript, machineKindOf, readScript, writeScript } from './chaos-script.ts';
import { shrinkScript } from './chaos-shrink.ts';
import { missingMarks, rareMarks, sumMarks } from './chaos-sometimes.ts';

describe('a script', () => {
  test('follows from its seed, and is at least what a chaos run has to be', () => {
    const script = drawScript({ seed: 4 });
    expect(drawScript({ seed: 4 })).toEqual(script);
    expect(drawScript({ seed: 5 }).jobs).not.toEqual(script.jobs);
    expect([script.machines.length, script.hubs, script.jobs.length]).toEqual([10, 2, 300]);
    expect(new Set(script.faults.map(({ kind }) => kind)).size).toBeGreaterThanOrEqual(5);
    expect(script.faults).toHaveLength(chaosDefaults.faults);
  });

  test('has chains of jobs: each link waits for one of the same run, at most three long', () => {
    const { jobs } = drawScript({ seed: 4 });
    const after = new Map(jobs.map((job) => [job.submission.id, job.after]));
    const length = (id: string | null | undefined): number => (id == null ? 0 : 1 + length(after.get(id)));
    expect(jobs.filter((job) => job.after !== null).length).toBeGreaterThan(20);
    expect(Math.max(...jobs.map((job) => length(job.submission.id)))).toBe(3);
    expect(jobs.every((job) => job.after === null || after.has(job.after))).toBe(true);
  });

  test('that was written before machines could be reserved has none that is', () => {
    const { reserved: _, ...before } = drawScript({ seed: 4, jobs: 20 });
    expect(readScript(JSON.stringify(before), 'a.json').reserved).toEqual([]);
  });

  test('that was written before limits could say how many may wait has none', () => {
    const { waiting: _, ...before } = drawScript({ seed: 4, jobs: 20 });
    expect(readScript(JSON.stringify(before), 'a.json').waiting).toEqual([]);
  });

  test('of every second seed or so limits what may wait, and every limit that it names is set first', () => {
    const drawn = Array.from({ length: 60 }, (_, seed) => drawScript({ seed, jobs: 1 }).waiting ?? []);
    const limited = drawn.filter((steps) => steps.length > 0);
    expect(limited.length).toBeGreaterThan(20);
    expect(limited.length).toBeLessThan(40);
    for (const steps of limited) {
      expect(steps.map(({ atMs }) => atMs)).toEqual(steps.map(({ atMs }) => atMs).toSorted((a, b) => a - b));
      for (const { name } of steps)
        expect(steps.find((step) => step.name === name)?.definition?.waiting).toBeTypeOf('number');
    }
    const definitions = limited.flat().flatMap(({ definition }) => definition ?? []);
    for (const field of ['customer', 'pool', 'model', 'concurrent'])
      expect(definitions.some((each) => field in each)).toBe(true);
    expect(limited.flat().some(({ definition }) => definition === null)).toBe(true);
    expect(definitions.some(({ waiting }) => waiting === 0)).toBe(true);
  });

  test('survives its file', () => {
    const script = drawScript({ seed: 4, jobs: 20 });
    expect(readScript(writeScript(script), 'a.json')).toMatchObject(JSON.parse(JSON.stringify(script)));
  });

  test('two of three seeds play with the machines that ship', () => {
    expect([1, 2, 3, 4, 5, 6].map(machineKindOf)).toEqual([
      'production',
      'production',
      'model',
      'production',
      'production',
      'model',
    ]);
  });

  test.each<[string, (script: ChaosScript) => unknown, string]>([
    ['a field that is none', (script) => ({ ...script, colour: 'red' }), 'colour'],
    [
      'a wrong fault',
      (script) => ({ ...script, faults: [{ atMs: 1, kind: 'link.cut' }] }),
      '/faults/0/machine',
    ],
    [
      'a job without an id',
      (script) => ({ ...script, jobs: [{ ...script.jobs[0], submission: { service: 's' } }] }),
      '/jobs/0/submission/id',
    ],
    ['no machines', (script) => ({ ...script, machines: [] }), '/machines'],
    ['a site that is none', (script) => ({ ...script, buggify: ['disk.lies'] }), '/buggify/0'],
    [
      'a limit that says nothing of what waits',
      (script) => ({
        ...script,
        waiting: [{ atMs: 1, name: 'a', definition: { pool: 'standard', concurrent: 1 } }],
      }),
      '/waiting/0/definition',
    ],
    ['another version', (script) => ({ ...script, version: 2 }), '/version'],
  ])('%s is refused by file and field', (_what, change, field) => {
    const text = JSON.stringify(change(drawScript({ seed: 4, jobs: 2 })));
    expect(() => readScript(text, 'dir/a.json')).toThrow('dir/a.json');
    expect(() => readScript(text, 'dir/a.json')).toThrow(field);
  });

  test('text that is no JSON is refused by file and line', () => {
    expect(() => readScript('{\n  "version": 1,\n  oops\n}', 'a.json')).toThrow('a.json, line 3');
  });
});

describe('shrinking a script', () => {
  const script = drawScript({ seed: 4 });
  const jobIds = (candidate: ChaosScript) => candidate.jobs.map(({ submission }) => submission.id);

  test('leaves what it takes: faults, machines, jobs and sites', async () => {
    const { reserved } = script;
    const [fault, other] = [script.faults[3], script.faults[20]];
    const broken = script.jobs.find(({ submission }) => submission.id === 'job-17') as PlannedJob;
    const needed = script.machines.findLast((index) =>
      mayRun({ index, fleet: 'mixed', reserved }, broken.submission),
    );
    const breaks = async (candidate: ChaosScript) =>
      [fault, other].every((each) => candidate.faults.some((left) => left.atMs === each?.atMs)) &&
      candidate.machines.includes(needed ?? -1) &&
      jobIds(candidate).includes('job-17');
    const { script: smaller, tries } = await shrinkScript(
      script,
      { checker: 'I1', jobId: 'job-17' },
      { triesLimit: 2_000, breaks },
    );
    expect(smaller.faults.map(({ atMs }) => atMs)).toEqual([fault?.atMs, other?.atMs]);
    expect([smaller.machines, jobIds(smaller), smaller.buggify]).toEqual([[needed], ['job-17'], []]);
    expect(tries).toBeLessThanOrEqual(2_000);
  });

  test('leaves the steps of limits that it takes', async () => {
    const definition = { customer: 'amber', waiting: 2 };
    const steps = [1, 2, 3, 4].map((atMs) => ({ atMs, name: 'a', definition }));
    const breaks = async ({ waiting = [] }: ChaosScript) => waiting.some(({ atMs }) => atMs === 3);
    const { script: smaller } = await shrinkScript(
      { ...script, waiting: steps },
      { checker: 'no more wait than may', jobId: null },
      { triesLimit: 2_000, breaks },
    );
    expect(smaller.waiting).toEqual([steps[2]]);
    expect([smaller.faults, smaller.machines.length, smaller.jobs.length]).toEqual([[], 1, 1]);
  });

  test('jobs that only a removed machine could run go with it', async () => {
    const breaks = async (candidate: ChaosScript) => candidate.machines.includes(0);
    const { script: smaller } = await shrinkScript(
      script,
      { checker: 'I1', jobId: 'job-17' },
      { triesLimit: 60, breaks },
    );
    const pins = smaller.jobs.map(({ submission }) => submission.requirements?.machineId ?? 'machine-1');
    expect(smaller.machines).toEqual([0]);
    expect(new Set(pins)).toEqual(new Set(['machine-1']));
  });

  test('stops at its limit with a script that still breaks', async () => {
    let tries = 0;
    const breaks = async (candidate: ChaosScript) => {
      tries++;
      return candidate.faults.length >= 9;
    };
    const { script: smaller } = await shrinkScript(
      script,
      { checker: 'I1', jobId: 'job-17' },
      { triesLimit: 5, breaks },
    );
    expect(tries).toBeLessThanOrEqual(5);
    expect(smaller.faults.length).toBeGreaterThanOrEqual(9);
  });
});

describe('marks of a set', () => {
  test('a handful of seeds is asked nothing, many are asked all but the rare ones, more are asked all', () => {
    expect(missingMarks(sumMarks([]), 10)).toEqual([]);
    const most = missingMarks(sumMarks([]), 50);
    expect(most).toContain('a lease expired');
    expect(most).toContain('fault: hubs.down');
    expect(most).toContain('site: frame.twice');
    expect(most).not.toContain(rareMarks[0]);
    expect(missingMarks(sumMarks([]), 500)).toContain(rareMarks[0]);
    expect(missingMarks(sumMarks([{ 'a lease expired': 1 }]), 50)).not.toContain('a lease expired');
  });
});
