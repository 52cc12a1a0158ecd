import { expect, test } from 'vitest';
import { simulationSpec } from '#actors/connectors/simulation/simulation-spec.ts';
import { tombstoneMs } from '#protocol/broker.ts';
import { simEnv } from '#simulations/sim-env.ts';
import { SimObjects } from '#simulations/sim-objects.ts';
import { hubRig } from './hub-rig.ts';

const reconcileEveryMs = 30_000;

async function setup() {
  const env = simEnv({ seed: 'reconcile' });
  const rig = await hubRig({
    env,
    objects: new SimObjects({ clock: env.clock }),
    services: [simulationSpec],
    settle: () => env.clock.settle(),
    config: { leaseTtlMs: 3_000, reconcileEveryMs },
  });
  await env.clock.advanceBy(10);
  return { clock: env.clock, rig };
}

test('an open job that the broker had and lost comes back once its tombstone has gone', async () => {
  const { clock, rig } = await setup();
  await rig.submit('j1');
  await clock.advanceBy(10);
  const { fenceFloor, brokeredAtMs } = await rig.row('j1');
  expect(brokeredAtMs).not.toBeNull();
  await rig.ports.broker.complete({ jobId: 'j1', token: fenceFloor, fenceFloor });
  await clock.advanceBy(2 * reconcileEveryMs);
  expect(await rig.ports.broker.inspect('j1')).toBeNull();
  await clock.advanceBy(tombstoneMs);
  expect(await rig.ports.broker.inspect('j1')).toMatchObject({ state: 'waiting' });
  expect(await rig.row('j1')).toMatchObject({ state: 'waiting', attempts: 0 });
  const machine = await rig.join({ machineId: 'm1' });
  expect((await machine.lease()).jobId).toBe('j1');
});

test('a job that runs, and one that has ended, are left alone by the walk over open jobs', async () => {
  const { clock, rig } = await setup();
  const machine = await rig.join({ machineId: 'm1' });
  await rig.submit('j1');
  const done = await machine.lease();
  await machine.complete(done);
  await rig.submit('j2');
  const lease = await machine.lease();
  const before = await rig.ports.broker.inspect('j2');
  await machine.live(clock, { forMs: 3 * reconcileEveryMs, running: [lease] });
  expect(await rig.ports.broker.inspect('j2')).toEqual(before);
  expect(await rig.ports.broker.inspect('j1')).toBeNull();
  expect(await machine.complete(lease)).toMatchObject({ kind: 'committed' });
});
