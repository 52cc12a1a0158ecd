import { expect, test } from 'vitest';
import { simulationSpec } from '#actors/connectors/simulation/simulation-spec.ts';
import type { HubConfigInput } from '#runtime/hub-config.ts';
import { simEnv } from '#simulations/sim-env.ts';
import { SimObjects } from '#simulations/sim-objects.ts';
import { limitsRig } from './limits-rig.ts';

async function setup(options: { config?: HubConfigInput } = {}) {
  const env = simEnv({ seed: 'waiting' });
  const made = await limitsRig({
    env,
    objects: new SimObjects({ clock: env.clock }),
    services: [simulationSpec],
    settle: () => env.clock.settle(),
    pass: (ms) => env.clock.advanceBy(ms),
    config: { leaseTtlMs: 600_000, ...options.config },
  });
  const { rig } = made;
  const stored = async () => {
    const { items } = await rig.ports.records.listJobs({ filter: {}, limit: 500, cursor: null });
    return items.map(({ id }) => id).sort();
  };
  return { ...made, env, stored };
}

test('a repeat is answered with its job although the queue is full, and nothing new comes with it', async () => {
  const { env, rig, stored } = await setup({ config: { waitingLimit: 2 } });
  await rig.submit('j1');
  await rig.submit('j2');
  await env.clock.advanceBy(1_100);
  expect(await rig.submit('j1')).toMatchObject({ id: 'j1', state: 'waiting' });
  await expect(rig.submit('j3')).rejects.toMatchObject({ code: 'QUEUE_FULL' });
  await expect(rig.submit('j1', { priority: 7 })).rejects.toMatchObject({ code: 'IDEMPOTENCY_CONFLICT' });
  expect(await stored()).toEqual(['j1', 'j2']);
});
