import { describe, expect, test } from 'vitest';
import { simulationSpec } from '#actors/connectors/simulation/simulation-spec.ts';
import { simEnv } from '#simulations/sim-env.ts';
import { SimObjects } from '#simulations/sim-objects.ts';
import { explainJob } from './explain.ts';
import { hubRig } from './hub-rig.ts';
import { pauseWork, resumeWork } from './pauses.ts';

const second = { ...simulationSpec, service: 'second' };

async function setup() {
  const env = simEnv({ seed: 'pauses' });
  const rig = await hubRig({
    env,
    objects: new SimObjects({ clock: env.clock }),
    services: [simulationSpec, second],
    settle: () => env.clock.settle(),
    config: { leaseTtlMs: 3_000 },
  });
  await env.clock.advanceBy(10);
  const machine = await rig.join({
    machineId: 'm1',
    machineClass: {
      services: [
        { service: 'simulation', version: '1', slots: 4 },
        { service: 'second', version: '1', slots: 4 },
      ],
    },
  });
  const submit = async (id: string, more: object = {}) => {
    await rig.submit(id, { payload: { durationMs: 10 }, ...more });
    await env.clock.settle();
  };
  const { hub } = rig.core;
  const pause = async (kind: 'pool' | 'service', name: string) =>
    await pauseWork(hub, { kind, name, reason: 'a leak', actor: 'ann' });
  return { env, rig, hub, machine, submit, pause };
}

describe('a pause', () => {
  test('keeps a pool from every machine, and nothing else; what runs goes on, and a resume gives it back', async () => {
    const { env, hub, machine, submit, pause } = await setup();
    await submit('running', { pool: 'fast-lane' });
    const running = await machine.lease();
    await pause('pool', 'fast-lane');
    await submit('held', { pool: 'fast-lane' });
    await submit('other', { pool: 'standard' });
    const other = await machine.lease();
    expect(other.jobId).toBe('other');
    await machine.complete(other);
    expect(await machine.claim()).toMatchObject({ kind: 'empty' });
    expect(await machine.complete(running)).toMatchObject({ kind: 'committed' });
    expect(await machine.beat()).toMatchObject({ kind: 'ok', work: false });
    expect((await explainJob(hub, 'held')).summary[0]).toMatch(
      /^The pool fast-lane has been held back for 0 s by ann: a leak\./,
    );
    await resumeWork(hub, { kind: 'pool', name: 'fast-lane', actor: 'bob' });
    await env.clock.advanceBy(500);
    expect(await machine.beat()).toMatchObject({ kind: 'ok', work: true });
    expect((await machine.lease()).jobId).toBe('held');
  });

  test('of a service leaves the others alone, also on another hub within two seconds', async () => {
    const { env, rig, machine, submit, pause } = await setup();
    const other = await rig.another({ hubId: 'hub-2' });
    await submit('held');
    await pause('service', 'simulation');
    await env.clock.advanceBy(2_000);
    expect(await machine.claim()).toMatchObject({ kind: 'empty' });
    await other.hub.pauses.refreshIfOld();
    const { requirements, pool } = await rig.row('held');
    expect(other.hub.pauses.isOpen({ service: 'simulation', pool, requirements })).toBe(false);
    expect(other.hub.pauses.isOpen({ service: 'second', pool, requirements })).toBe(true);
  });

  test('that does not hold cannot be ended', async () => {
    const { hub } = await setup();
    await expect(resumeWork(hub, { kind: 'pool', name: 'none', actor: 'ann' })).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
  });
});
