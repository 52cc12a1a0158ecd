import { describe, expect, test } from 'vitest';
import { simulationSpec } from '#actors/connectors/simulation/simulation-spec.ts';
import { tombstoneMs } from '#protocol/broker.ts';
import { EmpError } from '#protocol/errors.ts';
import { simEnv } from '#simulations/sim-env.ts';
import { SimObjects } from '#simulations/sim-objects.ts';
import type { HubPorts } from './hub.ts';
import { hubRig } from './hub-rig.ts';
import { submitBatch } from './submit.ts';

const reconcileEveryMs = 30_000;

async function setup(wrap: (ports: HubPorts) => HubPorts = (ports) => ports) {
  const env = simEnv({ seed: 'reconcile' });
  const rig = await hubRig({
    env,
    objects: new SimObjects({ clock: env.clock }),
    services: [simulationSpec],
    settle: () => env.clock.settle(),
    config: { leaseTtlMs: 3_000, reconcileEveryMs },
    wrap,
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

describe('of more open jobs than several pages hold', () => {
  const count = 2_345;
  const ids = Array.from({ length: count }, (_, index) => `j${String(index).padStart(5, '0')}`);

  async function fill({ rig }: Awaited<ReturnType<typeof setup>>): Promise<void> {
    for (let start = 0; start < count; start += 1_000) {
      const documents = ids.slice(start, start + 1_000).map((id) => ({ id, service: 'simulation' }));
      await submitBatch(rig.core.hub, documents, { traceparent: null });
    }
  }

  async function inBroker({ rig }: Awaited<ReturnType<typeof setup>>): Promise<string[]> {
    const found: string[] = [];
    for (let after: string | null = null; ; after = found.at(-1) ?? null) {
      const page = await rig.ports.broker.list({ after, limit: 1_000 });
      found.push(...page.map((entry) => entry.jobId));
      if (page.length < 1_000) return found;
    }
  }

  test('a loss brings all back, in one reconcile', async () => {
    const world = await setup();
    const { clock, rig } = world;
    await fill(world);
    rig.server.loseAll();
    await clock.advanceBy(2 * reconcileEveryMs);
    expect(await rig.ports.broker.stats()).toMatchObject({ open: true, waiting: count });
    expect(await inBroker(world)).toEqual(ids);
  });

  test('a loss in the midst of a rebuild, with pages on their way, begins it anew', async () => {
    let driven = 0;
    const lost: number[] = [];
    const world = await setup((ports) => ({
      ...ports,
      broker: {
        ...ports.broker,
        submit: async (options) => {
          if (options.ticket !== undefined && ++driven === 2) {
            lost.push(options.entries.length);
            world.rig.server.loseAll();
          }
          return await ports.broker.submit(options);
        },
      },
    }));
    const { clock, rig } = world;
    await fill(world);
    rig.server.loseAll();
    await clock.advanceBy(2 * reconcileEveryMs);
    expect(lost).toEqual([1_000]);
    expect(driven).toBeGreaterThanOrEqual(2 + 3);
    expect(await rig.ports.broker.stats()).toMatchObject({ open: true, waiting: count });
    expect(await inBroker(world)).toEqual(ids);
  });

  test('a Broker that fails under one page opens nothing before all are there', async () => {
    let driven = 0;
    const world = await setup((ports) => ({
      ...ports,
      broker: {
        ...ports.broker,
        submit: async (options) => {
          if (options.ticket !== undefined && ++driven === 1) throw new EmpError('BROKER_UNAVAILABLE');
          return await ports.broker.submit(options);
        },
      },
    }));
    const { clock, rig } = world;
    await fill(world);
    rig.server.loseAll();
    await clock.advanceBy(2 * reconcileEveryMs);
    expect(driven).toBeGreaterThanOrEqual(1 + 3);
    expect(await rig.ports.broker.stats()).toMatchObject({ open: true, waiting: count });
    expect(await inBroker(world)).toEqual(ids);
  });
});
