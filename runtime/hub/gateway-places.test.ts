import { expect, test } from 'vitest';
import { simulationSpec } from '#actors/connectors/simulation/simulation-spec.ts';
import { simEnv } from '#simulations/sim-env.ts';
import { SimObjects } from '#simulations/sim-objects.ts';
import { hubRig } from './hub-rig.ts';

test('a beat finds a place where requests that wait have taken all others', async () => {
  const env = simEnv({ seed: 'places' });
  const objects = new SimObjects({ clock: env.clock });
  const settle = () => env.clock.settle();
  const config = { leaseTtlMs: 3_000, linkRequestsLimit: 1 };
  const rig = await hubRig({ env, objects, services: [simulationSpec], settle, config });
  await env.clock.advanceBy(10);
  const machine = await rig.join({ machineId: 'm1' });
  const [claim, other, beat] = await Promise.allSettled([machine.claim(), machine.claim(), machine.beat()]);
  expect([claim.status, other.status, beat.status]).toEqual(['fulfilled', 'rejected', 'fulfilled']);
  // Their places are bounded as well.
  const beats = await Promise.allSettled(Array.from({ length: 20 }, () => machine.beat()));
  expect(beats.filter((each) => each.status === 'fulfilled').length).toBe(9);
});
