import { expect, test } from 'vitest';
import { simulationSpec } from '#actors/connectors/simulation/simulation-spec.ts';
import type { Residency } from '#protocol/model.ts';
import { simEnv } from '#simulations/sim-env.ts';
import { SimObjects } from '#simulations/sim-objects.ts';
import { explainJob } from './explain.ts';
import { hubRig } from './hub-rig.ts';

const holdLimitMs = 60_000;

/** m1 has the model and a job that should take `runMs`, m2 is idle and has nothing; `next` waits for the model. */
async function setup({ runMs = 10_000, bytes = 8_000_000_000, limitMs = holdLimitMs } = {}) {
  const env = simEnv({ seed: 'holds' });
  const objects = new SimObjects({ clock: env.clock });
  const rig = await hubRig({
    env,
    objects,
    services: [simulationSpec],
    config: { holdLimitMs: limitMs },
    settle: () => env.clock.settle(),
  });
  const { hub } = rig.core;
  // Past the first lease time, after which an empty Broker is open.
  await env.clock.advanceBy(hub.config.leaseTtlMs + 10);
  await hub.models.put({
    id: 'sdxl',
    service: 'simulation',
    kind: 'checkpoint',
    memoryMb: 1,
    licence: 'MIT',
    files: [{ name: 'w', bytes, sha256: 'a'.repeat(64), sources: [] }],
  });
  const machineClass = { services: [{ service: 'simulation', version: '1', slots: 1 }] };
  const m1 = await rig.join({ machineId: 'm1', machineClass });
  const m2 = await rig.join({ machineId: 'm2', machineClass });
  const resident = { modelId: 'sdxl', version: 1, state: 'resident', bytes, fraction: 1 };
  await m1.notify('residency', { full: true, entries: [resident] });
  const payload = { durationMs: runMs, models: ['sdxl'] };
  await rig.submit('first', { pool: 'standard', payload });
  const first = await m1.lease({ resident: ['sdxl'] });
  await rig.submit('next', { pool: 'standard', payload });
  const pass = async (ms: number) => {
    for (let left = ms; left > 0; left -= 1_000) {
      await env.clock.advanceBy(Math.min(left, 1_000));
      await m1.beat({ running: [first], slots: 0 });
      await m2.beat();
    }
  };
  return { env, rig, hub, m1, m2, first, pass };
}

test('an idle machine leaves a job to one that has its model and is soon free, and says so', async () => {
  const { rig, hub, m1, m2, first } = await setup();
  expect(await m2.claim()).toEqual({ kind: 'empty' });
  expect((await explainJob(hub, 'next')).summary).toContain(
    'Idle machines leave it to m1, which has sdxl and should be free before it could be fetched; for 60 s more at most.',
  );
  await m1.complete(first);
  expect((await m1.lease({ resident: ['sdxl'] })).jobId).toBe('next');
  // Its hold went with it.
  await rig.submit('third', { pool: 'standard', payload: { durationMs: 10_000, models: ['sdxl'] } });
  expect((await explainJob(hub, 'third')).summary.join()).not.toContain('leave it');
});

test('what else waits is not held with it', async () => {
  const { rig, m2 } = await setup();
  await rig.submit('other', { pool: 'standard', payload: { durationMs: 1_000 }, requirements: { ramMb: 7 } });
  expect((await m2.lease()).jobId).toBe('other');
});

test('a hold ends at its limit, and a limit of 0 is none', async () => {
  const { m2, pass } = await setup({ runMs: 100_000, bytes: 80_000_000_000 });
  for (let passedMs = 0; passedMs < holdLimitMs; passedMs += 5_000) {
    expect(await m2.claim()).toEqual({ kind: 'empty' });
    await pass(5_000);
  }
  expect((await m2.lease()).jobId).toBe('next');
  const never = await setup({ limitMs: 0 });
  expect((await never.m2.lease()).jobId).toBe('next');
});

test.each([
  ['is free too late', { runMs: 150_000 }],
  ['has no less of a way than the model', { bytes: 400_000_000 }],
])('nothing is held for one that %s', async (_, more) => {
  const { m2 } = await setup(more);
  expect((await m2.lease()).jobId).toBe('next');
});

test('nothing is held for one that drains, or has fallen silent', async () => {
  const draining = await setup();
  const link = draining.hub.links.get('m1');
  if (link) link.draining = true;
  expect((await draining.m2.lease()).jobId).toBe('next');
  const silent = await setup();
  await silent.env.clock.advanceBy(16_000);
  await silent.m2.beat();
  expect((await silent.m2.lease()).jobId).toBe('next');
});

test('one that has the model and idles is told, in case that it has not heard', async () => {
  const { rig, hub, m1, m2, first } = await setup();
  await m1.complete(first);
  await m1.complete(await m1.lease({ resident: ['sdxl'] }));
  expect(await m1.claim({ resident: ['sdxl'] })).toEqual({ kind: 'empty' });
  await rig.submit('third', { pool: 'standard', payload: { durationMs: 10_000, models: ['sdxl'] } });
  // Its wake got lost.
  const link = hub.links.get('m1');
  if (link) link.idle = true;
  m1.notices.length = 0;
  expect(await m2.claim()).toEqual({ kind: 'empty' });
  expect(await m2.claim()).toEqual({ kind: 'empty' });
  expect(m1.notices.map(({ type }) => type)).toEqual(['wake']);
});

/** As many models, all on the disk of m1, with a job for each. */
async function manyLanes(
  { rig, hub, m1 }: Awaited<ReturnType<typeof setup>>,
  lanes: number,
  durationMs: number,
) {
  const residency: Residency[] = [];
  for (let model = 0; model < lanes; model++) {
    const id = `m${model}`;
    await hub.models.put({
      id,
      service: 'simulation',
      kind: 'checkpoint',
      memoryMb: 1,
      licence: 'MIT',
      files: [{ name: 'w', bytes: 8_000_000_000, sha256: 'a'.repeat(64), sources: [] }],
    });
    residency.push({ modelId: id, version: 2, state: 'resident', bytes: 8_000_000_000, fraction: 1 });
    await rig.submit(`job-${id}`, { pool: 'standard', payload: { durationMs, models: [id] } });
  }
  await m1.notify('residency', { full: false, entries: residency });
}

test('one that has the models of many lanes is not promised to all of them', async () => {
  const rig = await setup();
  await manyLanes(rig, 8, 30_000);
  expect((await rig.m2.claim()).kind).toBe('leased');
});

test('short jobs of many lanes are all left to the one that has their models', async () => {
  const rig = await setup();
  await manyLanes(rig, 24, 10);
  expect((await rig.m2.claim()).kind).toBe('empty');
});

test('a lane beside one that is held is taken, and nothing is held for one that offers no slot', async () => {
  const { rig, hub, m1, m2, first } = await setup();
  await hub.models.put({
    id: 'elsewhere',
    service: 'simulation',
    kind: 'checkpoint',
    memoryMb: 1,
    licence: 'MIT',
    files: [{ name: 'w', bytes: 8_000_000_000, sha256: 'a'.repeat(64), sources: [] }],
  });
  await rig.submit('other', { pool: 'standard', payload: { durationMs: 10_000, models: ['elsewhere'] } });
  const other = await m2.lease();
  expect(other.jobId).toBe('other');
  await m2.complete(other);
  await m1.complete(first);
  // Its service is down.
  await m1.beat({ slots: 0 });
  expect((await m2.lease()).jobId).toBe('next');
});

test('a much more urgent job is not held while a run is asked back for it', async () => {
  const { hub, m2 } = await setup();
  expect(await m2.claim()).toEqual({ kind: 'empty' });
  const row = await hub.records.getJob('next');
  if (row === null) throw new Error('next has no row');
  expect(hub.holds.end(hub, row)).toBe(true);
  expect(hub.holds.end(hub, row)).toBe(false);
  expect((await m2.lease()).jobId).toBe('next');
});
