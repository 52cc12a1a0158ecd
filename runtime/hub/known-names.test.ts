import { expect, test } from 'vitest';
import { simulationSpec } from '#actors/connectors/simulation/simulation-spec.ts';
import { EmpError } from '#protocol/errors.ts';
import { simEnv } from '#simulations/sim-env.ts';
import { SimObjects } from '#simulations/sim-objects.ts';
import { hubRig } from './hub-rig.ts';
import { unknownNames } from './known-names.ts';

async function setup() {
  const env = simEnv({ seed: 'known-names' });
  const rig = await hubRig({
    env,
    objects: new SimObjects({ clock: env.clock }),
    services: [simulationSpec],
    settle: () => env.clock.settle(),
  });
  await env.clock.advanceBy(10);
  return { env, rig, hub: rig.core.hub };
}

const fleet = {
  pool: 'rented',
  services: [{ service: 'image', version: '1', slots: 1 }],
};

test('what a machine offers, what the hub serves and the pools of its settings are known', async () => {
  const { rig, hub } = await setup();
  await rig.join({ machineId: 'm1', machineClass: fleet });
  for (const pool of ['rented', 'fast-lane']) expect(await unknownNames(hub, { pool })).toEqual([]);
  for (const service of ['image', 'simulation']) expect(await unknownNames(hub, { service })).toEqual([]);
});

test('a name that nothing bears is answered with those that are there', async () => {
  const { rig, hub } = await setup();
  expect(await unknownNames(hub, { service: 'imge' })).toEqual([
    'no machine offers the service imge, and no job has named it; known: simulation',
  ]);
  await rig.join({ machineId: 'm1', machineClass: fleet });
  expect(await unknownNames(hub, { service: 'imge' })).toEqual([
    'no machine offers the service imge, and no job has named it; known: image, simulation',
  ]);
  expect(await unknownNames(hub, { pool: 'rentd', model: 'sdxl' })).toEqual([
    expect.stringMatching(/^no machine is of the pool rentd, and no job has named it; known: .*rented/),
    'no model sdxl is registered; known: none',
  ]);
});

test('a machine that joined another hub is known within a second', async () => {
  const { env, rig } = await setup();
  const { hub } = await rig.another({ hubId: 'hub-2' });
  expect(await unknownNames(hub, { pool: 'rented' })).toHaveLength(1);
  await rig.join({ machineId: 'm1', machineClass: fleet });
  await env.clock.advanceBy(1_000);
  expect(await unknownNames(hub, { pool: 'rented' })).toEqual([]);
});

test('a pool without machines is known once a job has named it', async () => {
  const { env, rig, hub } = await setup();
  expect(await unknownNames(hub, { pool: 'nights' })).toHaveLength(1);
  await rig.submit('j1', { pool: 'nights' });
  await env.clock.settle();
  expect(await unknownNames(hub, { pool: 'nights' })).toEqual([]);
  expect(await unknownNames(hub, { service: 'nights' })).toHaveLength(1);
});

test('a registered model is known, and of many names a dozen are listed', async () => {
  const { hub } = await setup();
  for (let n = 10; n < 24; n++)
    await hub.models.put({
      id: `model-${n}`,
      service: 'simulation',
      kind: 'checkpoint',
      memoryMb: 1,
      licence: 'none',
      files: [{ name: 'w.bin', bytes: 1, sha256: 'a'.repeat(64), sources: [] }],
    });
  expect(await unknownNames(hub, { model: 'model-10' })).toEqual([]);
  const [warning] = await unknownNames(hub, { model: 'modl-10' });
  expect(warning).toMatch(/; known: model-10, .*, model-21 and 2 more$/);
});

test('nothing is said where Records do not tell, and the order holds', async () => {
  const { hub } = await setup();
  hub.records.listGroups = () => Promise.reject(new EmpError('RECORDS_UNAVAILABLE'));
  expect(await unknownNames(hub, { service: 'imge' })).toEqual([]);
});

test('where nothing is named nothing is said', async () => {
  const { hub } = await setup();
  expect(await unknownNames(hub, {})).toEqual([]);
});
