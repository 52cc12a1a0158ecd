import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { connectorConformance } from '#actors/connectors/connector.conformance.ts';
import type { ConnectorRun, RunProgress } from '#protocol/connector.ts';
import type { Env } from '#protocol/env.ts';
import { EmpError } from '#protocol/errors.ts';
import type { JsonObject } from '#protocol/json.ts';
import { systemClock } from '#runtime/env.ts';
import { simEnv } from '#simulations/sim-env.ts';
import { simulatedBytes, simulationConnector } from './simulation-connector.ts';
import { SimulationPayload, simulationSpec } from './simulation-spec.ts';

connectorConformance('simulation', async (workDir) => {
  const env: Env = { ...simEnv({ seed: 1 }), clock: systemClock };
  return {
    connector: simulationConnector()({ env, workDir }),
    quick: {
      payload: { durationMs: 4, progressSteps: 4, outputs: 2, outputBytes: 100_000 },
      inputs: [],
      models: [{ id: 'model-a', dir: workDir, bytes: 0 }],
    },
    long: {
      payload: { durationMs: 60_000, progressSteps: 1_000 },
      inputs: [],
      models: [],
    },
    refused: { payload: { durationMs: -1 }, pointer: '/durationMs' },
    childPids: () => [],
  };
});

const dirs: string[] = [];
afterEach(async () => {
  for (const dir of dirs.splice(0)) await rm(dir, { recursive: true });
});

async function setup({ allowCrash = false, seed = 1 } = {}) {
  const env = simEnv({ seed });
  const outDir = await mkdtemp(join(tmpdir(), 'emp-simulation-'));
  dirs.push(outDir);
  const connector = simulationConnector({ allowCrash })({ env, workDir: outDir });
  const never = new AbortController().signal;
  await connector.start(never);
  const reports: RunProgress[] = [];
  const run = (payload: JsonObject, change: Partial<ConnectorRun> = {}) =>
    connector.run({
      jobId: 'job_1',
      token: '1',
      payload,
      inputs: [],
      models: [],
      outDir,
      signal: never,
      progress: (report) => reports.push(report),
      ...change,
    });
  return { clock: env.clock, connector, run, reports, outDir };
}

describe('time', () => {
  test('a run takes its duration on the clock of the environment, with evenly spread progress', async () => {
    const { clock, run, reports } = await setup();
    const ended = run({ durationMs: 10_000, progressSteps: 4 });
    await clock.advanceTo(4_999);
    expect(reports.map(({ fraction }) => fraction)).toEqual([0.25]);
    await clock.advanceTo(10_000);
    expect(reports.map(({ fraction }) => fraction)).toEqual([0.25, 0.5, 0.75, 1]);
    expect(await ended).toEqual({ outputs: [], data: { durationMs: 10_000, loadMs: 0 } });
    expect(clock.monotonic()).toBe(10_000);
  });

  test('a run without duration ends without any timer', async () => {
    const { clock, run } = await setup();
    await run({});
    expect(clock.fired).toBe(0);
  });

  test('the first use of a model costs its load time once, and again after its eviction', async () => {
    const { clock, connector, run } = await setup();
    const payload = { models: ['base', 'lora'], loadMs: 700 };
    const timed = async () => {
      const startedAt = clock.monotonic();
      const ended = run(payload);
      await clock.advanceBy(700);
      return { result: (await ended).data, startedAt };
    };
    expect((await timed()).result).toMatchObject({ loadMs: 700 });
    expect((await timed()).result).toMatchObject({ loadMs: 0 });
    await connector.evict('base');
    expect((await timed()).result).toMatchObject({ loadMs: 700 });
  });
});

describe('outputs', () => {
  test('their bytes follow from the job id and the number of the output', async () => {
    const { run, outDir } = await setup();
    const read = async (jobId: string, index: number) => {
      await run({ outputs: 2, outputBytes: 200_001 }, { jobId });
      return await readFile(join(outDir, `output-${index}.bin`));
    };
    const first = await read('job_a', 0);
    expect(first).toHaveLength(200_001);
    expect(first.equals(Buffer.concat([...simulatedBytes('job_a/0', 200_001)]))).toBe(true);
    expect(await read('job_a', 1)).not.toEqual(first);
    expect(await read('job_b', 0)).not.toEqual(first);
    expect((await read('job_a', 0)).equals(first)).toBe(true);
  });

  test('an output of no bytes is an empty file', async () => {
    const { run, outDir } = await setup();
    await run({ outputs: 1, outputBytes: 0 });
    expect(await readFile(join(outDir, 'output-0.bin'))).toHaveLength(0);
  });

  test('a folder that is gone fails the run for another try', async () => {
    const { run, outDir } = await setup();
    await expect(run({ outputs: 1 }, { outDir: join(outDir, 'gone') })).rejects.toMatchObject({
      code: 'CONNECTOR_FAILED',
      retryable: true,
    });
  });

  test('the data is as long as asked for', async () => {
    const { run } = await setup();
    expect((await run({ dataBytes: 5 })).data).toMatchObject({ filler: 'xxxxx' });
  });
});

describe('failures', () => {
  test.each([
    ['permanent', 'JOB_FAILED', false],
    ['retryable', 'CONNECTOR_FAILED', true],
  ])('"%s" ends with %s at its share of the duration', async (failWith, code, retryable) => {
    const { clock, run, reports } = await setup();
    const outcome = expect(
      run({ durationMs: 1_000, progressSteps: 10, failWith, failAt: 0.35 }),
    ).rejects.toMatchObject({
      code,
      retryable,
    });
    await clock.advanceTo(350);
    await outcome;
    expect(reports.at(-1)?.fraction).toBe(0.3);
  });

  test('only the first runs of a job fail when their number is given', async () => {
    const { run } = await setup();
    const payload = { failWith: 'retryable', failRuns: 2 };
    await expect(run(payload)).rejects.toMatchObject({ code: 'CONNECTOR_FAILED' });
    await expect(run(payload)).rejects.toMatchObject({ code: 'CONNECTOR_FAILED' });
    await expect(run(payload)).resolves.toBeDefined();
    await expect(run(payload, { jobId: 'job_2' })).rejects.toMatchObject({ code: 'CONNECTOR_FAILED' });
  });

  test('a share of runs fails, the same ones under the same seed', async () => {
    const outcomes = async (seed: number) => {
      const { run } = await setup({ seed });
      const settled = await Promise.allSettled(
        Array.from({ length: 200 }, (_, index) =>
          run({ failWith: 'permanent', failRate: 0.3 }, { jobId: `job_${index}` }),
        ),
      );
      return settled.map(({ status }) => status);
    };
    const first = await outcomes(7);
    const failed = first.filter((status) => status === 'rejected').length;
    expect(failed).toBeGreaterThan(30);
    expect(failed).toBeLessThan(90);
    expect(await outcomes(7)).toEqual(first);
    expect(await outcomes(8)).not.toEqual(first);
  });

  test('a hanging run makes no progress and ends only with its signal', async () => {
    const { clock, run, reports } = await setup();
    const controller = new AbortController();
    const ended = run({ durationMs: 1_000, failWith: 'hang', failAt: 0.5 }, { signal: controller.signal });
    await clock.advanceTo(86_400_000);
    expect(reports.at(-1)?.fraction).toBe(0.5);
    expect(clock.pending).toBe(0);
    const reason = new EmpError('JOB_STALLED');
    controller.abort(reason);
    await expect(ended).rejects.toBe(reason);
  });

  test('a crash is refused where it is not switched on', async () => {
    const { run } = await setup();
    await expect(run({ failWith: 'crash' })).rejects.toMatchObject({
      code: 'PAYLOAD_INVALID',
      errors: [{ pointer: '/failWith', detail: expect.stringContaining('switched off') }],
    });
  });

  test('an abort leaves no timer behind', async () => {
    const { clock, run } = await setup();
    const controller = new AbortController();
    const ended = run({ durationMs: 60_000 }, { signal: controller.signal });
    await clock.advanceTo(10_000);
    controller.abort(new EmpError('LEASE_LOST'));
    await expect(ended).rejects.toMatchObject({ code: 'LEASE_LOST' });
    expect(clock.pending).toBe(0);
  });
});

describe('payload', () => {
  test('an empty payload takes the defaults', () => {
    expect(SimulationPayload.parse({})).toMatchObject({ durationMs: 0, outputs: 0, models: [], failRate: 1 });
    expect(simulationSpec.models({ models: ['a', 'b'] })).toEqual(['a', 'b']);
    expect(simulationSpec.expectedMs({ durationMs: 1_234 })).toBe(1_234);
  });

  test.each<[JsonObject, string]>([
    [{ durationMs: 21_600_001 }, 'durationMs'],
    [{ progressSteps: 1.5 }, 'progressSteps'],
    [{ outputs: 17 }, 'outputs'],
    [{ outputBytes: 67_108_865 }, 'outputBytes'],
    [{ dataBytes: 32_769 }, 'dataBytes'],
    [{ failWith: 'politely' }, 'failWith'],
    [{ failAt: 1.1 }, 'failAt'],
    [{ failRuns: 0 }, 'failRuns'],
    [{ failRate: -0.1 }, 'failRate'],
  ])('%j is refused at its field', (payload, field) => {
    const { error } = SimulationPayload.safeParse(payload);
    expect(error?.issues.map(({ path }) => path)).toEqual([[field]]);
  });

  test('unknown fields and model names that are paths are refused', () => {
    expect(SimulationPayload.safeParse({ duration: 1 }).success).toBe(false);
    expect(SimulationPayload.safeParse({ models: ['../x'] }).success).toBe(false);
  });
});
