import { describe, expect, test } from 'vitest';
import { simulationSpec } from '#actors/connectors/simulation/simulation-spec.ts';
import { EmpError } from '#protocol/errors.ts';
import { tokenAfter } from '#protocol/token.ts';
import type { HubConfigInput } from '#runtime/hub-config.ts';
import { simEnv } from '#simulations/sim-env.ts';
import { SimObjects } from '#simulations/sim-objects.ts';
import { brokerEntry } from './broker-entry.ts';
import { driveRows } from './drive.ts';
import { dryRunJob } from './dry-run.ts';
import { explainJob } from './explain.ts';
import type { HubPorts } from './hub.ts';
import { limitsRig } from './limits-rig.ts';

async function setup(options: { wrap?: (ports: HubPorts) => HubPorts; config?: HubConfigInput } = {}) {
  const env = simEnv({ seed: 'limits on bad days' });
  const made = await limitsRig({
    env,
    objects: new SimObjects({ clock: env.clock }),
    services: [simulationSpec],
    settle: () => env.clock.settle(),
    pass: (ms) => env.clock.advanceBy(ms),
    config: {
      leaseTtlMs: 600_000,
      retryBaseMs: 600_000,
      retryLimitMs: 600_000,
      sweepEveryMs: 1_000,
      ...options.config,
    },
    ...(options.wrap && { wrap: options.wrap }),
  });
  const { machine } = made;
  /** The job's run fails, and its next try is ten minutes away at most. */
  const fail = async ({ jobId, token }: { jobId: string; token: string }) => {
    const error = { code: 'CONNECTOR_FAILED', message: 'died', retryable: true } as const;
    await machine.ask('exit', { jobId, token, cause: { kind: 'fail', error } });
    await env.clock.advanceBy(1);
  };
  return { ...made, env, fail };
}

describe('a job that is held again', () => {
  test('is not brought back by a re-drive that was read before', async () => {
    const { rig, hub, limit, submit, take, fail } = await setup();
    await limit('acme', { customer: 'acme', concurrent: 1 });
    await submit('a', 2);
    const [lease] = await take();
    const before = await rig.row('a1');
    await fail(lease!);
    expect(await rig.row('a1')).toMatchObject({ state: 'held' });
    await driveRows(hub, { rows: [{ ...before, state: 'waiting' }], identity: await hub.identity.get() });
    expect((await take()).map(({ jobId }) => jobId)).toEqual(['a2']);
    expect(await rig.ports.broker.inspect('a1')).toBeNull();
  });

  test('is given to nobody even where the broker has it, and a reconcile ends it there', async () => {
    const { env, rig, hub, machine, limit, submit, take, fail } = await setup();
    await limit('acme', { customer: 'acme', concurrent: 1 });
    await submit('a', 1);
    const [lease] = await take();
    await fail(lease!);
    const row = await rig.row('a1');
    // As a Broker that came back without its last writes has it.
    const entry = () =>
      brokerEntry({ ...row, state: 'waiting', fenceFloor: tokenAfter(tokenAfter(row.fenceFloor)) });
    await rig.ports.broker.submit({ identity: await hub.identity.get(), entries: [entry()] });
    expect(await take()).toEqual([]);
    expect(await rig.row('a1')).toMatchObject({ state: 'held' });
    expect(machine.closed).toBeNull();
    await env.clock.advanceBy(1);
    expect(await rig.ports.records.endedAmong(['a1'])).toMatchObject([{ known: true }]);
  });
});

describe('a limit that many share', () => {
  test.each([1, 500, 2_000, 3_000])(
    'goes round among customers whatever the rhythm of jobs: %i ms',
    async (ms) => {
      const { env, machine, limit, submit, take } = await setup();
      await limit('pool', { pool: 'fast-lane', concurrent: 1 });
      for (const customer of ['a', 'b', 'c']) await submit(customer, 12, { customer, pool: 'fast-lane' });
      const done: string[] = [];
      for (let n = 0; n < 24; n++) {
        const [lease] = await take();
        await machine.live(env.clock, { forMs: ms, running: [lease!] });
        await machine.complete(lease!);
        await env.clock.advanceBy(1);
        done.push(lease!.jobId.slice(0, 1));
      }
      for (const customer of ['a', 'b', 'c'])
        expect(done.filter((each) => each === customer)).toHaveLength(8);
    },
  );

  test('is asked once for all when it is full', async () => {
    let asked = 0;
    const { machine, env, limit, submit, take } = await setup({
      wrap: (ports) => ({
        ...ports,
        records: {
          ...ports.records,
          admitJobs: async (options) => {
            asked++;
            return await ports.records.admitJobs(options);
          },
        },
      }),
    });
    await limit('pool', { pool: 'fast-lane', concurrent: 1 });
    for (let n = 0; n < 60; n++) await submit(`customer-${n}-`, 1, { customer: `c${n}`, pool: 'fast-lane' });
    const [lease] = await take();
    asked = 0;
    await machine.complete(lease!);
    await env.clock.advanceBy(10);
    expect(asked).toBeLessThanOrEqual(3);
  });
});

test('a limit of another customer asks Records nothing of a claim', async () => {
  let isDown = false;
  const { limit, submit, take } = await setup({
    wrap: (ports) => ({
      ...ports,
      records: {
        ...ports.records,
        getJob: async (jobId) => {
          if (isDown) throw new EmpError('RECORDS_UNAVAILABLE', { detail: 'cut' });
          return await ports.records.getJob(jobId);
        },
      },
    }),
  });
  await limit('acme', { customer: 'acme', concurrent: 1 });
  await submit('b', 2, { customer: 'birch' });
  isDown = true;
  expect((await take()).map(({ jobId }) => jobId)).toEqual(['b1', 'b2']);
});

test('held jobs count as accepted, whoever has read the backlog before', async () => {
  const { env, hub, limit, submit } = await setup({ config: { waitingLimit: 5 } });
  await limit('acme', { customer: 'acme', concurrent: 0 });
  await submit('a', 5);
  await env.clock.advanceBy(1_000);
  await dryRunJob(hub, { service: 'simulation' });
  await expect(submit('b', 1)).rejects.toMatchObject({ code: 'QUEUE_FULL' });
});

test('what a limit forbids is told before and after the submission', async () => {
  const { hub, limit, submit } = await setup();
  await submit('a', 1);
  await limit('acme', { customer: 'acme', concurrent: 0, reason: 'unpaid' });
  const words = 'the limit acme lets in none at all of acme (unpaid)';
  expect((await explainJob(hub, 'a1')).summary).toEqual([
    `It is held as soon as a machine would get it: ${words}.`,
  ]);
  const dry = await dryRunJob(hub, { service: 'simulation', customer: 'acme' });
  expect(dry).toMatchObject({
    expectedStartMs: null,
    warnings: [`it is let in when there is room: ${words}`],
  });
});
