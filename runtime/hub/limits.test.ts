import { describe, expect, test } from 'vitest';
import { simulationSpec } from '#actors/connectors/simulation/simulation-spec.ts';
import { EmpError } from '#protocol/errors.ts';
import { simEnv } from '#simulations/sim-env.ts';
import { SimObjects } from '#simulations/sim-objects.ts';
import { cancelJob } from './cancel.ts';
import { explainJob } from './explain.ts';
import type { HubPorts } from './hub.ts';
import { removeLimit, saveLimit } from './limits.ts';
import { limitsRig } from './limits-rig.ts';
import { pauseWork, resumeWork } from './pauses.ts';
import { requeueJob } from './requeue.ts';

async function setup(options: { wrap?: (ports: HubPorts) => HubPorts } = {}) {
  const env = simEnv({ seed: 'limits' });
  const made = await limitsRig({
    env,
    objects: new SimObjects({ clock: env.clock }),
    services: [simulationSpec],
    settle: () => env.clock.settle(),
    pass: (ms) => env.clock.advanceBy(ms),
    config: { leaseTtlMs: 3_000, retryBaseMs: 1_000, sweepEveryMs: 1_000 },
    ...options,
  });
  const ids = (leases: { jobId: string }[]) => leases.map(({ jobId }) => jobId);
  const complete = async (lease: { jobId: string; token: string }) => {
    await made.machine.complete(lease);
    await env.clock.advanceBy(10);
  };
  return { ...made, env, ids, complete };
}

describe('a limit', () => {
  test('lets so many be under way, and each that ends makes room for the next', async () => {
    const { rig, machine, limit, submit, take, ids, complete } = await setup();
    await limit('acme', { customer: 'acme', concurrent: 3 });
    await submit('a', 8);
    expect(await rig.row('a8')).toMatchObject({ state: 'held', limited: true });
    const first = await take();
    expect(ids(first)).toEqual(['a1', 'a2', 'a3']);
    const wakes = machine.notices.length;
    await complete(first[1]!);
    // The machine idles: it is told of the one that has come in.
    expect(machine.notices.slice(wakes)).toMatchObject([{ type: 'wake' }]);
    expect(ids(await take())).toEqual(['a4']);
    expect(await rig.eventTypes('a4')).toContain('job.admitted');
  });

  test('leaves the jobs of others alone', async () => {
    const { limit, submit, take, ids } = await setup();
    await limit('acme', { customer: 'acme', concurrent: 1 });
    await submit('a', 3);
    await submit('b', 3, { customer: 'birch' });
    expect(ids(await take()).sort()).toEqual(['a1', 'b1', 'b2', 'b3']);
  });

  test('holds for what waited before it was set, and no run is counted for that', async () => {
    const { env, rig, limit, submit, take, ids, complete } = await setup();
    await submit('a', 300);
    await submit('b', 1, { customer: 'birch', priority: 0 });
    await limit('acme', { customer: 'acme', concurrent: 2 });
    expect(ids(await take())).toEqual(['b1']);
    await env.clock.advanceBy(10);
    const given = await take();
    expect(ids(given)).toEqual(['a1', 'a2']);
    expect(await rig.row('a300')).toMatchObject({ state: 'held', attempts: 0, limited: true });
    const { transitions } = await rig.ports.records.timeline('a300');
    expect(transitions.at(-1)).toMatchObject({
      operation: 'withhold',
      to: 'held',
      reason: 'the limit acme lets in 2 at once of acme',
    });
    await complete(given.find(({ jobId }) => jobId === 'a1')!);
    expect(ids(await take())).toEqual(['a3']);
  });

  test('sends what fails, is given back or fell silent behind it, until its pause is over', async () => {
    const { env, rig, machine, limit, submit, take, ids } = await setup();
    await limit('acme', { customer: 'acme', concurrent: 1 });
    await submit('a', 2);
    const [lease] = await take();
    const error = { code: 'CONNECTOR_FAILED', message: 'died', retryable: true } as const;
    await machine.ask('exit', { jobId: 'a1', token: lease!.token, cause: { kind: 'fail', error } });
    await env.clock.advanceBy(1);
    const second = await take();
    expect(ids(second)).toEqual(['a2']);
    expect(await rig.row('a1')).toMatchObject({ state: 'held', attempts: 1 });
    await machine.complete(second[0]!);
    await machine.live(env.clock, { forMs: 2_500, running: [] });
    expect(ids(await take())).toEqual(['a1']);
    // Its machine falls silent: the job comes back behind the limit, and has room at once.
    await env.clock.advanceBy(4_000);
    expect(await rig.row('a1')).toMatchObject({ state: 'waiting', attempts: 2, limited: true });
  });

  test('of every customer counts each alone', async () => {
    const { limit, submit, take, ids } = await setup();
    await limit('each', { customer: '*', pool: 'fast-lane', concurrent: 2 });
    await submit('a', 4, { customer: 'acme', pool: 'fast-lane' });
    await submit('b', 4, { customer: 'birch', pool: 'fast-lane' });
    await submit('c', 4, { customer: 'birch', pool: 'standard' });
    expect(ids(await take()).sort()).toEqual(['a1', 'a2', 'b1', 'b2', 'c1', 'c2', 'c3', 'c4']);
  });

  test('that several share goes round among them', async () => {
    const { limit, submit, take, complete } = await setup();
    await limit('pool', { pool: 'fast-lane', concurrent: 3 });
    await submit('a', 30, { customer: 'acme', pool: 'fast-lane' });
    await submit('b', 30, { customer: 'birch', pool: 'fast-lane' });
    let running = await take();
    expect(running).toHaveLength(3);
    const done: string[] = [];
    for (let n = 0; n < 30; n++) {
      const [lease] = running;
      await complete(lease!);
      done.push(lease!.jobId);
      running = [...running.slice(1), ...(await take())];
      expect(running).toHaveLength(3);
    }
    const ofAcme = done.filter((id) => id.startsWith('a')).length;
    expect(ofAcme).toBeGreaterThanOrEqual(10);
    expect(ofAcme).toBeLessThanOrEqual(20);
  });

  test('on a rate lets in what the time since allows, by its own dates', async () => {
    const { env, machine, limit, submit, take, ids } = await setup();
    await limit('calls', { pool: 'fast-lane', perMinute: 30 });
    await submit('a', 10, { customer: 'acme', pool: 'fast-lane' });
    const running = await take();
    expect(ids(running)).toEqual(['a1', 'a2', 'a3']);
    for (const [forMs, next] of [
      [1_500, []],
      [1_000, ['a4']],
      [4_000, ['a5', 'a6']],
    ] as const) {
      await machine.live(env.clock, { forMs, running });
      const given = await take();
      expect(ids(given)).toEqual(next);
      running.push(...given);
    }
  });

  test('that is raised or removed lets the rest in; one of 0 lets nothing begin, not even what has room', async () => {
    const { env, hub, limit, submit, take, ids } = await setup();
    await limit('acme', { customer: 'acme', concurrent: 2 });
    await submit('a', 6);
    await limit('acme', { customer: 'acme', concurrent: 0 });
    expect(await take()).toEqual([]);
    await limit('acme', { customer: 'acme', concurrent: 3 });
    await env.clock.advanceBy(10);
    expect(ids(await take())).toEqual(['a1', 'a2', 'a3']);
    await removeLimit(hub, { name: 'acme', actor: 'ann' });
    await env.clock.advanceBy(10);
    expect(ids(await take())).toEqual(['a4', 'a5', 'a6']);
    await expect(removeLimit(hub, { name: 'acme', actor: 'ann' })).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
  });

  test('makes room when a job is cancelled, and holds one that is requeued', async () => {
    const { env, rig, hub, limit, submit, take, ids } = await setup();
    await limit('acme', { customer: 'acme', concurrent: 1 });
    await submit('a', 3);
    await cancelJob(hub, 'a1', 'client');
    await cancelJob(hub, 'a3', 'client');
    await env.clock.advanceBy(10);
    expect(ids(await take())).toEqual(['a2']);
    expect(await requeueJob(hub, 'a1', 'ann')).toMatchObject({ state: 'held' });
    await env.clock.advanceBy(10);
    expect(await rig.row('a1')).toMatchObject({ state: 'held' });
    expect(await take()).toEqual([]);
  });

  test('with the broker away lets in all the same, and the job gets there when it is back', async () => {
    let isAway = false;
    const { env, rig, machine, limit, submit, take, ids } = await setup({
      wrap: (ports) => ({
        ...ports,
        broker: {
          ...ports.broker,
          submit: async (options) => {
            if (isAway) throw new EmpError('BROKER_UNAVAILABLE', { detail: 'cut' });
            return await ports.broker.submit(options);
          },
        },
      }),
    });
    await limit('acme', { customer: 'acme', concurrent: 1 });
    isAway = true;
    await submit('a', 1);
    expect(await rig.row('a1')).toMatchObject({ state: 'waiting', brokeredAtMs: null });
    isAway = false;
    await machine.live(env.clock, { forMs: 40_000, running: [] });
    expect(ids(await take())).toEqual(['a1']);
  });

  test('that another hub has set is known here within seconds, and room that is made there is used here', async () => {
    const { env, rig, machine, submit, take, ids } = await setup();
    const other = await rig.another();
    await saveLimit(other.hub, { name: 'acme', document: { customer: 'acme', concurrent: 1 }, actor: 'ann' });
    await machine.live(env.clock, { forMs: 3_000, running: [] });
    await submit('a', 2);
    const [lease] = await take();
    expect(lease?.jobId).toBe('a1');
    await cancelJob(other.hub, 'a1', 'client');
    await machine.ask('exit', {
      jobId: 'a1',
      token: lease!.token,
      cause: { kind: 'cancel', reason: 'asked' },
    });
    await env.clock.advanceBy(10);
    expect(ids(await take())).toEqual(['a2']);
  });

  test.each([
    [{}, '', 'names a customer'],
    [{ customer: 'acme' }, '', 'has `concurrent`'],
    [{ customer: 'a b', concurrent: 1 }, '/customer', 'customer'],
    [{ pool: 'fast-lane', concurrent: -1 }, '/concurrent', '0'],
    [{ pool: 'fast-lane', concurrent: 1.5 }, '/concurrent', 'int'],
    [{ pool: 'fast-lane', perMinute: 0 }, '/perMinute', '1'],
    [{ pool: 'fast-lane', waiting: -1 }, '/waiting', '0'],
    [{ pool: 'fast-lane', waiting: 1.5 }, '/waiting', 'int'],
    [{ pool: 'fast-lane', waiting: '10' }, '/waiting', 'number'],
    [{ pool: 'fast-lane', waiting: null, concurrent: 1 }, '/waiting', 'number'],
    [{ pool: 'fast-lane', waiting: 1_000_001 }, '/waiting', '1000000'],
    [{ waiting: 3 }, '', 'names a customer'],
    [{ pool: 'fast-lane', concurrent: 1, burst: 3 }, '', 'burst'],
  ])('of the form %j is refused by name', async (document, pointer, text) => {
    const { hub } = await setup();
    const error = await saveLimit(hub, { name: 'x', document, actor: 'ann' }).catch((thrown) => thrown);
    expect(error).toMatchObject({ code: 'VALIDATION_FAILED' });
    expect(error.errors.some((each: { pointer: string }) => each.pointer.startsWith(pointer))).toBe(true);
    expect(JSON.stringify(error.errors)).toContain(text);
  });
});

describe('a paused customer', () => {
  test('is given nothing until somebody resumes; what runs goes on and others are served', async () => {
    const { env, rig, hub, submit, take, ids, complete } = await setup();
    await submit('a', 1);
    const [running] = await take();
    await submit('waits', 20);
    await pauseWork(hub, { kind: 'customer', name: 'acme', reason: 'unpaid', actor: 'ann' });
    await submit('held', 2);
    await submit('b', 1, { customer: 'birch' });
    expect(ids(await take())).toEqual(['b1']);
    await complete(running!);
    expect(await rig.row('a1')).toMatchObject({ state: 'succeeded' });
    expect((await explainJob(hub, 'held1')).summary[0]).toMatch(
      /^The customer acme has been held back for .* by ann: unpaid\. It goes on when somebody resumes it\.$/,
    );
    await resumeWork(hub, { kind: 'customer', name: 'acme', actor: 'bob' });
    await env.clock.advanceBy(10);
    expect(await take()).toHaveLength(22);
    expect(await rig.row('held2')).toMatchObject({ limited: false });
  });
});

test('a held job says which limit holds it and how many that has let in', async () => {
  const { hub, limit, submit } = await setup();
  await limit('acme', { customer: 'acme', concurrent: 2, reason: 'their plan' });
  await submit('a', 3);
  expect((await explainJob(hub, 'a3')).summary).toEqual([
    'It waits for room: the limit acme lets in 2 at once of acme (their plan); 2 are let in now.',
  ]);
});
