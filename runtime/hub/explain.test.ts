import { describe, expect, test } from 'vitest';
import { simulationSpec } from '#actors/connectors/simulation/simulation-spec.ts';

import { simEnv } from '#simulations/sim-env.ts';
import { SimObjects } from '#simulations/sim-objects.ts';
import { cancelJob } from './cancel.ts';
import { explainJob } from './explain.ts';
import { byNearness, type MachineVerdict, startAfter } from './explanation.ts';
import type { HubPorts } from './hub.ts';
import { hubRig } from './hub-rig.ts';
import { cordonMachine } from './machines.ts';
import { requeueJob } from './requeue.ts';

async function setup(options: { wrap?: (ports: HubPorts) => HubPorts; leaseTtlMs?: number } = {}) {
  const env = simEnv({ seed: 'explain' });
  const rig = await hubRig({
    env,
    objects: new SimObjects({ clock: env.clock }),
    services: [simulationSpec],
    settle: () => env.clock.settle(),
    config: { leaseTtlMs: options.leaseTtlMs ?? 3_000 },
    ...(options.wrap && { wrap: options.wrap }),
  });
  await env.clock.advanceBy(10);
  const explain = async (id: string) => await explainJob(rig.core.hub, id);
  const text = async (id: string) => (await explain(id)).summary.join(' ');
  const submit = async (id: string, more: object = {}) => {
    await rig.submit(id, { payload: { durationMs: 10_000 }, ...more });
    await env.clock.settle();
  };
  return { env, rig, explain, text, submit };
}

describe('explain', () => {
  test('a job that nobody knows is refused by name', async () => {
    const { explain } = await setup();
    await expect(explain('nobody')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  test('of a job that waits for slots: who is busy, who comes before it and why, and when it should start', async () => {
    const { env, rig, explain, submit } = await setup();
    const machine = await rig.join({ machineId: 'm1' });
    await submit('first', { customer: 'ann' });
    await machine.lease({ slots: 2 });
    await submit('second', { customer: 'ann' });
    await machine.lease({ slots: 1 });
    await env.clock.advanceBy(500);
    await submit('mine', { customer: 'bob' });
    await submit('urgent', { customer: 'ann', priority: 90 });
    const found = await explain('mine');
    expect(found).toMatchObject({
      state: 'waiting',
      machines: [{ machineId: 'm1', verdict: 'busy', unmet: [], model: null }],
      counts: { considered: 1, fit: 1, linked: 1, free: 0 },
      ahead: { inGroup: 1, leaders: [{ jobId: 'urgent', customer: 'ann', why: 'priority 90 against 50' }] },
      choice: null,
    });
    // Two runs of 10 s have just begun, and one job goes first: it gets the second slot.
    expect(found.expectedStart?.inMs).toBeGreaterThan(9_000);
    expect(found.expectedStart?.inMs).toBeLessThanOrEqual(10_000);
    expect(found.summary).toEqual([
      'Every machine that may run it and is there is busy: m1.',
      '1 job of its group comes before it; first urgent of ann: priority 90 against 50.',
      expect.stringMatching(/^It should start in about (9\.\d|10) s: 2 slots on 1 linked machine/),
    ]);
  });

  test('of a job that nobody can run: what each machine lacks, and that its pin is gone', async () => {
    const { env, rig, explain, text, submit } = await setup();
    const big = await rig.join({ machineId: 'big', machineClass: { vramMb: 24_000, tags: ['eu'] } });
    await rig.join({ machineId: 'small', machineClass: { vramMb: 8_000 } });
    await submit('wide', { requirements: { vramMb: 20_000 } });
    await submit('pinned', { requirements: { machineId: 'ghost' } });
    expect((await explain('wide')).machines).toMatchObject([
      { machineId: 'big', verdict: 'free', unmet: [] },
      {
        machineId: 'small',
        verdict: 'unfit',
        unmet: [{ requirement: 'vramMb', needed: '20000 MiB', available: '8000 MiB' }],
      },
    ]);
    expect(await text('pinned')).toContain('It is pinned to ghost, which is not there.');
    await cordonMachine(rig.core.hub, 'big', true);
    expect(await text('wide')).toContain('big may run it, and is cordoned or drained.');
    await big.vanish();
    await env.clock.advanceBy(20_000);
    expect(await text('wide')).toContain('The machines that may run it are away: big.');
  });

  test('of a job that ran: which machine claimed it after what wait, and that its model was there', async () => {
    const { env, rig, explain, submit } = await setup({ leaseTtlMs: 30_000 });
    await rig.ports.records.putModel({
      id: 'sdxl',
      service: 'simulation',
      kind: 'checkpoint',
      memoryMb: 4_000,
      licence: 'none',
      files: [{ name: 'weights.bin', bytes: 4_000_000_000, sha256: 'a'.repeat(64), sources: [] }],
    });
    // The job's pool has a machine of its own, which takes nothing.
    await rig.join({ machineId: 'm2', machineClass: { pool: 'fast-lane' } });
    const machine = await rig.join({ machineId: 'm1', machineClass: { pool: 'heavy' } });
    await submit('warm', { pool: 'fast-lane', payload: { durationMs: 10_000, models: ['sdxl'] } });
    await machine.live(env.clock, { forMs: 30_000, running: [] });
    const lease = await machine.lease({ resident: ['sdxl'] });
    expect((await explain('warm')).summary).toEqual(['m1 has just claimed it.']);
    await env.clock.advanceBy(500);
    expect((await explain('warm')).summary[0]).toMatch(/^m1 has had it for 0\.\d s, 0 % done/);
    await machine.complete(lease);
    await env.clock.advanceBy(1_000);
    const found = await explain('warm');
    expect(found).toMatchObject({ state: 'succeeded', ahead: null, expectedStart: null });
    expect(found.choice).toMatchObject({ machineId: 'm1', run: 1, bonusMs: 120_000, penaltyMs: 15_000 });
    expect(found.choice?.waitedMs).toBeGreaterThanOrEqual(30_000);
    expect(found.summary).toEqual([
      'It succeeded on m1.',
      'm1 claimed it after 30 s because it had a free slot and sdxl was there or not far, which counted as 2 min of waiting; it belongs to another pool than fast-lane, which cost the job 15 s.',
    ]);
  });

  test('the wait before a claim begins at the requeue, not in a former life', async () => {
    const { env, rig, explain, submit } = await setup({ leaseTtlMs: 30_000 });
    await submit('again');
    await env.clock.advanceBy(60_000);
    await cancelJob(rig.core.hub, 'again', 'ann');
    await env.clock.advanceBy(60_000);
    await requeueJob(rig.core.hub, 'again', 'ann');
    await env.clock.advanceBy(5_000);
    const machine = await rig.join({ machineId: 'm1' });
    await machine.lease();
    await env.clock.advanceBy(500);
    const { choice, summary } = await explain('again');
    expect(choice?.waitedMs).toBeGreaterThanOrEqual(5_000);
    expect(choice?.waitedMs).toBeLessThan(6_000);
    expect(summary[1]).toMatch(/^m1 claimed it after 5(\.\d)? s because/);
  });

  test('the wait before a claim begins when a retry was due, and is told of that claim after another failure', async () => {
    const { env, rig, explain, submit } = await setup({ leaseTtlMs: 30_000 });
    const machine = await rig.join({ machineId: 'm1' });
    const error = { code: 'CONNECTOR_FAILED' as const, message: 'the service died', retryable: true };
    const fail = async () => {
      const { jobId, token } = await machine.lease();
      await env.clock.advanceBy(500);
      await machine.ask('exit', { jobId, token, cause: { kind: 'fail', error } });
      await env.clock.settle();
    };
    await submit('flaky', { maxAttempts: 3 });
    await env.clock.advanceBy(2_000);
    await fail();
    expect((await explain('flaky')).choice).toMatchObject({ run: 1, waitedMs: 2_000 });
    const dueMs = (await rig.row('flaky')).notBeforeMs ?? 0;
    await machine.live(env.clock, { forMs: dueMs - env.clock.now() + 1_500, running: [] });
    const claimMs = env.clock.now();
    await fail();
    const { choice } = await explain('flaky');
    expect(choice?.run).toBe(2);
    expect(choice?.waitedMs).toBeGreaterThan(0);
    expect(choice?.waitedMs).toBeLessThanOrEqual(claimMs - dueMs);
  });

  test('a dead job names the machines on which it came to nothing', async () => {
    const { env, rig, text, submit } = await setup();
    await submit('poison', { maxAttempts: 2 });
    for (const machineId of ['m1', 'm2']) {
      const machine = await rig.join({ machineId });
      await machine.live(env.clock, { forMs: 61_000, running: [] });
      const { jobId, token } = await machine.lease();
      const error = { code: 'CONNECTOR_FAILED' as const, message: 'the service died', retryable: true };
      await machine.ask('exit', { jobId, token, cause: { kind: 'fail', error } });
    }
    await env.clock.settle();
    expect(await text('poison')).toMatch(
      /^It is dead after 2 counted tries of 2: .*m1 claimed it|.*2 runs came to nothing: m1 failed \(CONNECTOR_FAILED\), m2 failed \(CONNECTOR_FAILED\)\.$/,
    );
  });

  test('where no machine is there, whether any has joined at all is told', async () => {
    const { env, rig, text, submit } = await setup();
    await submit('first');
    expect(await text('first')).toMatch(/^No machine has joined: it waits for one that offers simulation\. /);
    const machine = await rig.join({ machineId: 'm1' });
    expect(await text('first')).toMatch(/^m1 may run it/);
    await machine.ask('leave', { reason: 'drained' });
    await env.clock.settle();
    expect(await text('first')).toMatch(
      /^No machine is there: all that have joined left, or have been silent for an hour\. /,
    );
  });

  test('a job that the broker does not know is about to be handed over, unless it has waited for leases', async () => {
    const wrap = (ports: HubPorts): HubPorts => ({
      ...ports,
      broker: { ...ports.broker, submit: async () => Promise.reject(new Error('no answer')) },
    });
    const { env, text, submit } = await setup({ wrap });
    await submit('j1');
    expect(await text('j1')).toBe(
      'The broker does not know it yet: a reconciler hands it over within moments.',
    );
    await env.clock.advanceBy(10_000);
    expect(await text('j1')).toMatch(
      /^The broker does not know it, 10 s after it began to wait: a reconciler should have handed it over long ago\./,
    );
  });

  test('a job that is not due, and one whose broker does not answer, say so', async () => {
    let isDown = false;
    const wrap = (ports: HubPorts): HubPorts => ({
      ...ports,
      broker: {
        ...ports.broker,
        inspect: async (jobId) => {
          if (isDown) throw new Error('no answer');
          return await ports.broker.inspect(jobId);
        },
      },
    });
    const { env, text, submit } = await setup({ wrap });
    await submit('later', { notBefore: new Date(env.clock.now() + 60_000).toISOString() });
    await submit('now');
    expect(await text('later')).toMatch(/^It must not run before 2026-01-01T00:01:00/);
    isDown = true;
    expect(await text('now')).toMatch(
      /^The broker does not answer \(.*\): nothing is claimed until it does\.$/,
    );
  });
});

describe('the expected start', () => {
  test.each([
    { freeInMs: [], ahead: 0, inMs: null },
    { freeInMs: [0], ahead: 0, inMs: 0 },
    { freeInMs: [500], ahead: 0, inMs: 500 },
    { freeInMs: [0, 700], ahead: 1, inMs: 700 },
    { freeInMs: [0, 700], ahead: 2, inMs: 1_000 },
    { freeInMs: [0], ahead: 5, inMs: 5_000 },
    { freeInMs: [0, 0, 0], ahead: 300_000, inMs: 100_000_000 },
    { freeInMs: [0, 500], ahead: 1_000_001, inMs: 500_000_500 },
  ])('slots free in $freeInMs ms, $ahead ahead of 1 s each: in $inMs ms', ({ freeInMs, ahead, inMs }) => {
    expect(startAfter({ freeInMs, ahead, expectedMs: 1_000 })).toBe(inMs);
  });

  test('machines nearest to the job come first', () => {
    const of = (machineId: string, more: Partial<MachineVerdict>): MachineVerdict => ({
      machineId,
      pool: 'standard',
      verdict: 'free',
      unmet: [],
      running: 0,
      model: 'absent',
      ...more,
    });
    const sorted = [
      of('f', { verdict: 'unfit' }),
      of('e', { verdict: 'away' }),
      of('d', { verdict: 'busy' }),
      of('c', { running: 2 }),
      of('b', {}),
      of('a', { model: 'resident', running: 3 }),
    ].toSorted(byNearness);
    expect(sorted.map(({ machineId }) => machineId)).toEqual(['a', 'b', 'c', 'd', 'e', 'f']);
  });
});
