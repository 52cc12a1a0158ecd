import { expect, test } from 'vitest';
import { simulationSpec } from '#actors/connectors/simulation/simulation-spec.ts';
import { simEnv } from '#simulations/sim-env.ts';
import { SimObjects } from '#simulations/sim-objects.ts';
import { hubRig } from './hub-rig.ts';

test('of more groups than a claim may name, one that just got work or got it back is named at once', async () => {
  const env = simEnv({ seed: 'groups' });
  const rig = await hubRig({
    env,
    objects: new SimObjects({ clock: env.clock }),
    services: [simulationSpec],
    settle: () => env.clock.settle(),
    config: { leaseTtlMs: 3_000 },
  });
  await env.clock.advanceBy(10);
  const { groups } = rig.core.hub;
  for (let index = 10; index < 60; index++)
    await groups.intern(`00${index}`, { service: 'simulation', pool: 'standard', requirements: {} });
  const machine = await rig.join({ machineId: 'm1' });
  await rig.submit('j0', { requirements: { ramMb: 3 } });
  await machine.complete(await machine.lease());
  await env.clock.advanceBy(1_100);
  await machine.beat();
  await rig.submit('j1', { requirements: { ramMb: 3 } });
  const lease = await machine.lease();
  await env.clock.advanceBy(1_100);
  await machine.beat({ running: [lease] });
  await machine.ask('exit', {
    jobId: 'j1',
    token: lease.token,
    cause: { kind: 'release', reason: 'preempted' },
  });
  expect((await machine.lease()).jobId).toBe('j1');
});
