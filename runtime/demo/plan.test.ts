import { existsSync } from 'node:fs';
import { expect, test } from 'vitest';
import { imageSpec } from '#actors/connectors/image/image-spec.ts';
import { simulationSpec } from '#actors/connectors/simulation/simulation-spec.ts';
import { upscaleSpec } from '#actors/connectors/upscale/upscale-spec.ts';
import type { Job } from '#protocol/job.ts';
import { FileName, MachineId } from '#protocol/names.ts';
import { sampleJob } from '#runtime/cli/contract-hub.ts';
import { builtInModels } from '#runtime/models/catalogue.ts';
import { percentile } from '#runtime/percentile.ts';
import { demoFacts } from './facts.ts';
import { beforeAfterName, contactSheetName, demoJobs, demoMachines, demoPhotos } from './plan.ts';

const specs = new Map([imageSpec, simulationSpec, upscaleSpec].map((spec) => [spec.service, spec]));

test('every job of the demo has a payload that its service accepts, and a machine that offers it', () => {
  for (const job of demoJobs) {
    const spec = specs.get(job.service);
    expect(spec?.payload.safeParse(job.payload).error, job.name).toBeUndefined();
    expect(job.inputs.length, job.name).toBeGreaterThanOrEqual(spec?.inputs.min ?? 0);
    expect(job.inputs.length, job.name).toBeLessThanOrEqual(spec?.inputs.max ?? 0);
    const offers = demoMachines.some(
      ({ pool, services }) =>
        pool === job.pool && services.some((offer) => offer.startsWith(`${job.service}:`)),
    );
    expect(offers, `${job.name} in pool ${job.pool}`).toBe(true);
  }
});

test('a job comes after those whose files it needs, and names a file that they make', () => {
  const seen = new Map<string, (typeof demoJobs)[number]>();
  for (const job of demoJobs) {
    for (const input of job.inputs) {
      if ('photo' in input)
        expect(existsSync(new URL(`./photos/${input.photo}`, import.meta.url))).toBe(true);
      else expect(seen.has(input.job), `${job.name} needs ${input.job}`).toBe(true);
    }
    expect(seen.has(job.name), job.name).toBe(false);
    seen.set(job.name, job);
  }
});

test('it keeps at least eight pictures under names of their own, the two to look at among them', () => {
  const names = demoJobs.flatMap(({ saves }) => saves.map(({ as }) => as));
  expect(names.length).toBeGreaterThanOrEqual(8);
  expect(new Set(names).size).toBe(names.length);
  expect(names).toEqual(expect.arrayContaining([beforeAfterName, contactSheetName]));
  for (const name of [...names, ...demoPhotos]) expect(FileName.safeParse(name).success, name).toBe(true);
  for (const { id } of demoMachines) expect(MachineId.safeParse(id).success, id).toBe(true);
});

test('the demo runs every built-in network', () => {
  const used = new Set(demoJobs.flatMap((job) => specs.get(job.service)?.models(job.payload) ?? []));
  expect([...used].sort()).toEqual(builtInModels.map(({ manifest }) => manifest.id).sort());
});

test('facts count waits, machines, first runs of a network and repeated runs', () => {
  const [plan] = demoJobs;
  if (plan === undefined) throw new Error('the plan is empty');
  const finish = (change: Partial<Job>) => ({
    plan,
    files: [],
    job: sampleJob({ state: 'succeeded', submittedAtMs: 0, runs: 1, ...change }),
  });
  const data = { loadMs: 20, millis: 50 };
  const facts = demoFacts([
    finish({
      startedAtMs: 100,
      finishedAtMs: 200,
      machineId: 'b',
      models: ['m'],
      result: { outputs: [], data },
    }),
    finish({
      startedAtMs: 10,
      finishedAtMs: 110,
      machineId: 'b',
      models: ['m'],
      result: { outputs: [], data },
    }),
    finish({ startedAtMs: 30, finishedAtMs: 40, machineId: 'a', runs: 3 }),
  ]);
  expect(facts).toEqual({
    jobs: 3,
    wait: { p50Ms: 30, maxMs: 100 },
    machines: [
      { machineId: 'a', jobs: 1, busyMs: 10 },
      { machineId: 'b', jobs: 2, busyMs: 200 },
    ],
    firstRuns: [{ modelId: 'm', machineId: 'b', loadMs: 20, computeMs: 50, prepareMs: 30 }],
    retries: 2,
  });
});

test('a percentile is a value of the list', () => {
  expect([0, 0.5, 0.99, 1].map((p) => percentile([1, 2, 3, 4], p))).toEqual([1, 2, 4, 4]);
  expect(percentile([7], 0.99)).toBe(7);
  expect(percentile([], 0.5)).toBe(0);
});
