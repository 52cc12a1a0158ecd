import { describe, expect, test } from 'vitest';
import { simulationSpec } from '#actors/connectors/simulation/simulation-spec.ts';
import { simEnv } from '#simulations/sim-env.ts';
import { SimObjects } from '#simulations/sim-objects.ts';
import { explainJob } from './explain.ts';
import { hubRig } from './hub-rig.ts';
import { getMachine, listMachines } from './machines.ts';

const leaseTtlMs = 30_000;

async function setup() {
  const env = simEnv({ seed: 'machines' });
  const rig = await hubRig({
    env,
    objects: new SimObjects({ clock: env.clock }),
    services: [simulationSpec],
    settle: () => env.clock.settle(),
    config: { leaseTtlMs },
  });
  // Past the age at which a hub begins to shorten leases.
  await env.clock.advanceBy(leaseTtlMs + 10);
  const machine = await rig.join({ machineId: 'm1' });
  await rig.submit('j1');
  const view = async () => await getMachine(rig.core.hub, 'm1');
  return { clock: env.clock, rig, hub: rig.core.hub, machine, view };
}

describe('what is shown of a machine', () => {
  test('a job that it was given a moment ago runs there, and one that has ended does not, whatever its last beat said', async () => {
    const { machine, view } = await setup();
    await machine.beat();
    const lease = await machine.lease();
    expect((await view()).running).toEqual([{ jobId: 'j1', token: lease.token }]);
    await machine.beat({ running: [lease], slots: 0 });
    expect((await view()).running).toHaveLength(1);
    await machine.complete(lease);
    expect((await view()).running).toEqual([]);
  });

  test('of a linked one the last frame tells when it was seen, not its last stored report', async () => {
    const { clock, machine, view } = await setup();
    await machine.beat();
    await clock.advanceBy(12_000);
    await machine.beat();
    const heardAtMs = clock.now();
    await clock.advanceBy(4_000);
    expect(await view()).toMatchObject({ linked: true, seenBy: 'link', lastSeenAtMs: heardAtMs });
  });

  test('one that was killed was seen when its link spoke last, is linked to nobody, and has its job until the lease ends', async () => {
    const { clock, rig, hub, machine, view } = await setup();
    const lease = await machine.lease();
    await machine.beat({ running: [lease], slots: 0 });
    await clock.advanceBy(15_000);
    await machine.beat({ running: [lease], slots: 0 });
    const heardAtMs = clock.now();
    await clock.advanceBy(3_000);
    await machine.vanish();
    await clock.advanceBy(1_000);
    const killed = {
      state: 'joined',
      linked: false,
      seenBy: 'records',
      lastSeenAtMs: heardAtMs,
      running: [{ jobId: 'j1', token: lease.token }],
    };
    expect(await view()).toMatchObject(killed);
    expect(await listMachines(hub, { all: false })).toMatchObject([killed]);
    // The explanation of the job says the same of it.
    const { machines, summary } = await explainJob(hub, 'j1');
    expect(machines).toMatchObject([{ machineId: 'm1', verdict: 'holds', running: 1 }]);
    expect(summary[1]).toBe(
      'No hub has a link to m1 now: unless it comes back, the job goes to another machine when its lease ends.',
    );
    await clock.advanceBy(leaseTtlMs);
    expect((await rig.row('j1')).state).toBe('waiting');
    expect(await view()).toMatchObject({ linked: false, running: [], lastSeenAtMs: heardAtMs });
  });

  test('one that fell silent over an open link is lost, and was seen when it spoke last', async () => {
    const { clock, machine, view } = await setup();
    await machine.beat();
    await clock.advanceBy(9_000);
    await machine.beat();
    const heardAtMs = clock.now();
    await clock.advanceBy(3 * leaseTtlMs);
    expect(machine.closed).toMatchObject({ code: 4_000 });
    expect(await view()).toMatchObject({ state: 'lost', linked: false, lastSeenAtMs: heardAtMs });
  });

  test('a stop of the hub stores nothing of the machines that it sends away', async () => {
    const { clock, rig, machine, view } = await setup();
    await machine.beat();
    const { lastSeenAtMs } = (await rig.ports.records.getMachine('m1')) ?? {};
    await clock.advanceBy(2_000);
    await rig.core.stop();
    expect(await view()).toMatchObject({ linked: false, lastSeenAtMs });
  });
});
