import { describe, expect, test } from 'vitest';
import { simulationSpec } from '#actors/connectors/simulation/simulation-spec.ts';
import type { HubConfigInput } from '#runtime/hub-config.ts';
import { simEnv } from '#simulations/sim-env.ts';
import { SimObjects } from '#simulations/sim-objects.ts';
import { hubRig } from './hub-rig.ts';
import { cordonMachine } from './machines.ts';

async function setup(config: HubConfigInput = {}) {
  const env = simEnv({ seed: 'preempt' });
  const rig = await hubRig({
    env,
    objects: new SimObjects({ clock: env.clock }),
    services: [simulationSpec],
    settle: () => env.clock.settle(),
    config: { leaseTtlMs: 60_000, sweepEveryMs: 1_000, preemptAfterMs: 2_000, ...config },
  });
  await env.clock.advanceBy(10);
  const machine = await rig.join({ machineId: 'm1' });
  const running: { jobId: string; token: string }[] = [];
  const take = async () => {
    const lease = await machine.lease();
    running.push(lease);
    return lease;
  };
  const wait = (forMs: number) => machine.live(env.clock, { forMs, running });
  const asked = () => machine.notices.filter(({ type }) => type === 'preempt').map(({ body }) => body);
  const giveBack = async (lease: { jobId: string; token: string }) => {
    running.splice(0, running.length, ...running.filter(({ jobId }) => jobId !== lease.jobId));
    const cause = { kind: 'release', reason: 'preempted' } as const;
    await machine.ask('exit', { jobId: lease.jobId, token: lease.token, cause });
  };
  return { env, rig, hub: rig.core.hub, machine, take, wait, asked, giveBack };
}

const urgent = { priority: 100, pool: 'standard' };
const batch = { priority: 0, preemptible: true, pool: 'standard', customer: 'batch' };

describe('preemption', () => {
  test('asks the run that stands last back, keeps its attempts, and its slot goes to the urgent job', async () => {
    const { rig, take, wait, asked, giveBack } = await setup();
    await rig.submit('keeps', { ...batch, preemptible: false });
    await rig.submit('gives', batch);
    const leases = [await take(), await take()];
    await wait(3_000);
    await rig.submit('urgent', urgent);
    await wait(1_000);
    // It waits a while first: a slot may come free.
    expect(asked()).toEqual([]);
    await wait(3_000);
    expect(asked()).toEqual([{ jobId: 'gives', reason: 'preempted: job urgent is more urgent' }]);
    // Nobody is asked twice while the run ends.
    await wait(5_000);
    expect(asked()).toHaveLength(1);
    await giveBack(leases.find(({ jobId }) => jobId === 'gives')!);
    expect((await take()).jobId).toBe('urgent');
    expect(await rig.row('gives')).toMatchObject({ state: 'waiting', attempts: 0, runs: 1 });
    expect(await rig.eventTypes('gives')).toContain('job.preempted');
  });

  test.each([
    ['is not outranked by the margin', { priority: 90 }],
    ['may not be given back', { preemptible: false }],
  ])('leaves a run alone that %s', async (_, more) => {
    const { rig, take, wait, asked } = await setup();
    for (const id of ['a', 'b']) await rig.submit(id, { ...batch, ...more });
    await take();
    await take();
    await wait(1_000);
    await rig.submit('urgent', urgent);
    await wait(10_000);
    expect(asked()).toEqual([]);
  });

  test('leaves the runs of a cordoned machine alone: its slots are given to nobody', async () => {
    const { hub, rig, take, wait, asked } = await setup();
    for (const id of ['a', 'b']) await rig.submit(id, batch);
    await take();
    await take();
    await cordonMachine(hub, 'm1', true);
    await rig.submit('urgent', urgent);
    await wait(8_000);
    expect(asked()).toEqual([]);
    await cordonMachine(hub, 'm1', false);
    await wait(2_000);
    expect(asked()).toHaveLength(1);
  });

  test('leaves a run alone for a job that its machine may not take, and one that was begun ten times', async () => {
    const { rig, machine, take, wait, asked, giveBack } = await setup();
    for (const id of ['a', 'b']) await rig.submit(id, batch);
    await rig.join({
      machineId: 'm2',
      machineClass: { tags: ['big'], services: [{ service: 'simulation', version: '1', slots: 1 }] },
    });
    let leases = [await take(), await take()];
    await rig.submit('elsewhere', { ...urgent, requirements: { tags: ['big'] } });
    await wait(8_000);
    expect(asked()).toEqual([]);
    for (let n = 0; n < 9; n++) {
      for (const lease of leases) await giveBack(lease);
      leases = [await take(), await take()];
    }
    await wait(1_000);
    await rig.submit('urgent', urgent);
    await wait(8_000);
    expect(asked()).toEqual([]);
    expect(await rig.row('a')).toMatchObject({ state: 'leased', runs: 10 });
    expect(machine.closed).toBeNull();
  });

  test('of a job that nobody is urgent for costs nothing', async () => {
    const { rig, take, wait, asked } = await setup();
    for (const id of ['a', 'b']) await rig.submit(id, batch);
    await take();
    await take();
    await rig.submit('ordinary', { priority: 50, pool: 'standard' });
    await wait(8_000);
    expect(asked()).toEqual([]);
  });
});
