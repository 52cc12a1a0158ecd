import { expect, test } from 'vitest';
import { simulationSpec } from '#actors/connectors/simulation/simulation-spec.ts';
import { simEnv } from '#simulations/sim-env.ts';
import { SimObjects } from '#simulations/sim-objects.ts';
import { hubRig } from './hub-rig.ts';
import { hubStatus } from './status.ts';

const stores = { records: 'sqlite', broker: 'memory', objects: 'none', durable: false, dataDir: null };

async function setup() {
  const env = simEnv({ seed: 'status' });
  const rig = await hubRig({
    env,
    objects: new SimObjects({ clock: env.clock }),
    services: [simulationSpec],
    settle: () => env.clock.settle(),
  });
  // The Broker opens with the first reconcile.
  await env.clock.advanceBy(10);
  const status = async () => await hubStatus(rig.core.hub, stores);
  return { env, rig, status };
}

test('waiting jobs that no joined machine may run are told by service, until one joins that may', async () => {
  const { env, rig, status } = await setup();
  expect((await status()).unserved).toEqual([]);
  await rig.submit('a', { requirements: { vramMb: 8_000 } });
  await rig.submit('b');
  expect((await status()).unserved).toEqual([{ service: 'simulation', waiting: 2 }]);
  const small = await rig.join({ machineId: 'small' });
  expect((await status()).unserved).toEqual([{ service: 'simulation', waiting: 1 }]);
  await rig.join({ machineId: 'large', machineClass: { vramMb: 8_000 } });
  expect((await status()).unserved).toEqual([]);
  // A pin is to one machine: that others of its class are there does not help.
  await rig.submit('pinned', { requirements: { machineId: 'small' } });
  expect((await status()).unserved).toEqual([]);
  await small.ask('leave', { reason: 'drained' });
  await env.clock.settle();
  expect(await status()).toMatchObject({
    machines: { joined: 1, left: 1 },
    unserved: [{ service: 'simulation', waiting: 1 }],
  });
});
