import { describe, expect, test } from 'vitest';
import { simulationSpec } from '#actors/connectors/simulation/simulation-spec.ts';
import { EmpError } from '#protocol/errors.ts';
import { simEnv } from '#simulations/sim-env.ts';
import { SimObjects } from '#simulations/sim-objects.ts';
import { abortBulk, getBulk, startBulk } from './bulks.ts';
import { cancelJob } from './cancel.ts';
import type { HubPorts } from './hub.ts';
import { hubRig } from './hub-rig.ts';

async function setup(options: { wrap?: (ports: HubPorts) => HubPorts } = {}) {
  const env = simEnv({ seed: 'bulks' });
  const rig = await hubRig({
    env,
    objects: new SimObjects({ clock: env.clock }),
    services: [simulationSpec],
    settle: () => env.clock.settle(),
    ...(options.wrap && { wrap: options.wrap }),
  });
  await env.clock.advanceBy(10);
  const { hub } = rig.core;
  const submit = async (prefix: string, count: number, more: object = {}) => {
    for (let number = 0; number < count; number++) await rig.submit(`${prefix}-${number}`, more);
  };
  const start = (document: object) => startBulk(hub, document, 'ann');
  const states = async (customer: string) => {
    const counts = await rig.ports.records.countJobs({ customer });
    return Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0));
  };
  return { env, clock: env.clock, rig, hub, submit, start, states };
}

describe('bulk actions', () => {
  test('what the filter met is cancelled, more than a page of it; what came later, and what others have, stays', async () => {
    const { clock, rig, hub, submit, start, states } = await setup();
    await submit('a', 450, { customer: 'ann' });
    await submit('b', 3, { customer: 'bob' });
    const bulk = await start({ action: 'cancel', filter: { customer: 'ann' } });
    expect(bulk).toMatchObject({ state: 'running', matched: 450, done: 0 });
    await clock.advanceBy(5);
    await submit('late', 2, { customer: 'ann' });
    await clock.advanceBy(10_000);
    expect(await getBulk(hub, bulk.id)).toMatchObject({ state: 'done', matched: 450, done: 450, refused: 0 });
    expect(await states('ann')).toEqual({ cancelled: 450, waiting: 2 });
    expect(await states('bob')).toEqual({ waiting: 3 });
    expect(await rig.ports.records.runningBulks()).toEqual([]);
  });

  test('what had ended when it began is requeued once, and not what ends since', async () => {
    const { clock, hub, submit, start, states } = await setup();
    await submit('a', 5, { customer: 'ann' });
    for (let number = 0; number < 5; number++) await cancelJob(hub, `a-${number}`, 'client');
    await submit('b', 1, { customer: 'ann' });
    await clock.advanceBy(1_000);
    const bulk = await start({ action: 'requeue', filter: { customer: 'ann', state: ['cancelled'] } });
    await clock.advanceBy(5);
    await cancelJob(hub, 'b-0', 'client');
    await clock.advanceBy(10_000);
    expect(await getBulk(hub, bulk.id)).toMatchObject({ state: 'done', matched: 5, done: 5 });
    expect(await states('ann')).toEqual({ waiting: 5, cancelled: 1 });
  });

  test('a dry run says how many jobs it would meet, and keeps nothing', async () => {
    const { clock, rig, submit, start, states } = await setup();
    await submit('a', 4, { customer: 'ann', labels: { team: 'x' } });
    await submit('b', 2, { customer: 'ann' });
    const filter = { customer: 'ann', label: { key: 'team', value: 'x' } };
    expect(await start({ action: 'cancel', filter, dryRun: true })).toMatchObject({ matched: 4, done: 0 });
    await clock.advanceBy(10_000);
    expect(await states('ann')).toEqual({ waiting: 6 });
    expect(await rig.ports.records.listBulks({ limit: 10 })).toEqual([]);
  });

  test('what moved on before it came is counted as refused', async () => {
    const { clock, hub, submit, start } = await setup();
    await submit('a', 2, { customer: 'ann' });
    for (let number = 0; number < 2; number++) await cancelJob(hub, `a-${number}`, 'client');
    await clock.advanceBy(1_000);
    const bulk = await start({ action: 'requeue', filter: { customer: 'ann' } });
    // The list was read, then somebody else was faster.
    const listed = hub.records.listJobs.bind(hub.records);
    hub.records.listJobs = async (options) => {
      const page = await listed(options);
      hub.records.listJobs = listed;
      await hub.records.requeueJob({ jobId: 'a-0', actor: 'bob', nowMs: clock.now() });
      return page;
    };
    await clock.advanceBy(10_000);
    expect(await getBulk(hub, bulk.id)).toMatchObject({ state: 'done', done: 1, refused: 1 });
  });

  test('it waits while the records do not answer, and goes on', async () => {
    let down = false;
    const wrap = (ports: HubPorts): HubPorts => ({
      ...ports,
      records: new Proxy(ports.records, {
        get(target, key: keyof HubPorts['records']) {
          if (key === 'requestCancel' && down)
            return async () => Promise.reject(new EmpError('RECORDS_UNAVAILABLE'));
          return Reflect.get(target, key);
        },
      }),
    });
    const { clock, hub, submit, start } = await setup({ wrap });
    await submit('a', 3, { customer: 'ann' });
    down = true;
    const bulk = await start({ action: 'cancel', filter: { service: 'simulation' } });
    await clock.advanceBy(20_000);
    expect(await getBulk(hub, bulk.id)).toMatchObject({ state: 'running', done: 0 });
    down = false;
    await clock.advanceBy(20_000);
    expect(await getBulk(hub, bulk.id)).toMatchObject({ state: 'done', done: 3 });
  });

  test('one that is aborted goes no further', async () => {
    const { clock, hub, submit, start, states } = await setup();
    await submit('a', 3, { customer: 'ann' });
    const bulk = await start({ action: 'cancel', filter: { customer: 'ann' } });
    expect(await abortBulk(hub, bulk.id, 'bob')).toMatchObject({ state: 'aborted' });
    await clock.advanceBy(10_000);
    expect(await states('ann')).toEqual({ waiting: 3 });
    await expect(abortBulk(hub, bulk.id, 'bob')).rejects.toMatchObject({ code: 'CONFLICT' });
    await expect(abortBulk(hub, 'nobody', 'bob')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  test.each([
    [{ action: 'delete', filter: { customer: 'a' } }, '/action'],
    [{ action: 'cancel', filter: {} }, '/filter'],
    [{ action: 'cancel' }, '/filter'],
    [{ action: 'cancel', filter: { state: ['waiting', 'dead'] } }, '/filter/state/1'],
    [{ action: 'requeue', filter: { state: ['succeeded'] } }, '/filter/state/0'],
    [{ action: 'cancel', filter: { submittedBefore: 'yesterday' } }, '/filter/submittedBefore'],
    [{ action: 'cancel', filter: { prompt: 'cat' } }, '/filter/prompt'],
  ])('%j is refused by name', async (document, pointer) => {
    const { rig, start } = await setup();
    await expect(start(document)).rejects.toMatchObject({
      errors: expect.arrayContaining([expect.objectContaining({ pointer })]),
    });
    expect(await rig.ports.records.listBulks({ limit: 10 })).toEqual([]);
  });
});
