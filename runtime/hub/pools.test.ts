import { describe, expect, test } from 'vitest';
import { simulationSpec } from '#actors/connectors/simulation/simulation-spec.ts';
import type { HubConfigInput } from '#runtime/hub-config.ts';
import { simEnv } from '#simulations/sim-env.ts';
import { SimObjects } from '#simulations/sim-objects.ts';
import { hubRig } from './hub-rig.ts';
import { cordonMachine } from './machines.ts';

/** One machine of the pool standard, and a line of jobs of standard that never ends. */
async function setup(config: HubConfigInput = {}) {
  const env = simEnv({ seed: 'pools' });
  const rig = await hubRig({
    env,
    objects: new SimObjects({ clock: env.clock }),
    services: [simulationSpec],
    settle: () => env.clock.settle(),
    config: { leaseTtlMs: 30_000, ...config },
  });
  await env.clock.advanceBy(10);
  const services = [{ service: 'simulation', version: '1', slots: 1 }];
  const machine = await rig.join({ machineId: 'm1', machineClass: { pool: 'standard', services } });
  let submitted = 0;
  /** Ends a job of 10 s and takes the next; answers its pool. */
  const next = async () => {
    await rig.submit(`line-${++submitted}`, { pool: 'standard', expectedMs: 10_000 });
    const lease = await machine.lease();
    const { pool } = await rig.row(lease.jobId);
    await machine.live(env.clock, { forMs: 10_000, running: [lease] });
    await machine.complete(lease);
    return pool;
  };
  for (let n = 0; n < 20; n++) await rig.submit(`first-${n}`, { pool: 'standard', expectedMs: 10_000 });
  return { env, rig, machine, next };
}

describe('a pool of which no machine is there', () => {
  test('takes turns with the pool of the machines that serve it', async () => {
    const { rig, next } = await setup();
    for (let n = 0; n < 4; n++) await next();
    for (let n = 0; n < 4; n++) await rig.submit(`heavy-${n}`, { pool: 'heavy', expectedMs: 300_000 });
    const pools: string[] = [];
    for (let n = 0; n < 8; n++) pools.push(await next());
    expect(pools.filter((pool) => pool === 'heavy')).toHaveLength(4);
    expect(pools.slice(0, 2).sort()).toEqual(['heavy', 'standard']);
  });

  test('waits for the end of their line where its age counts nothing', async () => {
    const { rig, next } = await setup({ ageWeight: 0 });
    for (let n = 0; n < 4; n++) await next();
    await rig.submit('heavy', { pool: 'heavy', expectedMs: 300_000 });
    const pools: string[] = [];
    for (let n = 0; n < 8; n++) pools.push(await next());
    expect(new Set(pools)).toEqual(new Set(['standard']));
  });

  test('is left to its own machines again as soon as one is there', async () => {
    const { rig, next } = await setup({ leaseTtlMs: 300_000 });
    for (let n = 0; n < 9; n++) await rig.submit(`heavy-${n}`, { pool: 'heavy', expectedMs: 300_000 });
    const before = [await next(), await next(), await next(), await next()];
    expect(before).toContain('heavy');
    const services = [{ service: 'simulation', version: '1', slots: 1 }];
    await rig.join({ machineId: 'm2', machineClass: { pool: 'heavy', services } });
    // Known to all within moments; that it takes nothing changes nothing.
    await next();
    await next();
    const after: string[] = [];
    for (let n = 0; n < 6; n++) after.push(await next());
    expect(new Set(after)).toEqual(new Set(['standard']));
  });

  test('is one whose machines are all cordoned, too', async () => {
    const { rig, next } = await setup({ leaseTtlMs: 300_000 });
    const services = [{ service: 'simulation', version: '1', slots: 1 }];
    await rig.join({ machineId: 'm2', machineClass: { pool: 'heavy', services } });
    await cordonMachine(rig.core.hub, 'm2', true);
    for (let n = 0; n < 3; n++) await next();
    for (let n = 0; n < 4; n++) await rig.submit(`heavy-${n}`, { pool: 'heavy', expectedMs: 300_000 });
    const pools: string[] = [];
    for (let n = 0; n < 8; n++) pools.push(await next());
    expect(pools.filter((pool) => pool === 'heavy')).toHaveLength(4);
  });
});
