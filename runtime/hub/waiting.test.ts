import { describe, expect, test } from 'vitest';
import type { LimitDefinitionInput } from '#protocol/limit.ts';
import { simEnv } from '#simulations/sim-env.ts';
import { SimObjects } from '#simulations/sim-objects.ts';
import { cancelJob } from './cancel.ts';
import { dryRunJob } from './dry-run.ts';
import { explainJob } from './explain.ts';
import type { Hub } from './hub.ts';
import { removeLimit } from './limits.ts';
import { requeueJob } from './requeue.ts';
import { saveSchedule, showSchedule } from './schedules.ts';
import { submitBatch } from './submit.ts';
import { full, gate, waitingRig } from './waiting-rig.ts';

async function setup(options: Partial<Parameters<typeof waitingRig>[0]> = {}) {
  const env = simEnv({ seed: 'waiting' });
  const settle = () => env.clock.settle();
  const pass = (ms: number) => env.clock.advanceBy(ms);
  const objects = new SimObjects({ clock: env.clock });
  return { ...(await waitingRig({ env, objects, settle, pass, ...options })), env };
}

const wan = { models: ['wan'] };
describe('a limit on what waits', () => {
  test('refuses what exceeds it, by its name, its number, how many wait and what to do', async () => {
    const { limit, refusal, stored } = await setup();
    await limit('acme', { customer: 'acme', waiting: 3, reason: 'their plan' });
    for (const id of ['a1', 'a2', 'a3']) expect(await refusal(id)).toBeNull();
    expect(await refusal('a4')).toEqual({
      ...full,
      message:
        'the limit acme lets 3 jobs of acme wait at once (their plan), 3 wait: try again when some have begun or ended, or raise its `waiting`',
      fields: { name: 'acme', waiting: 3, limit: 3 },
    });
    expect(await refusal('b1', { customer: 'birch' })).toBeNull();
    expect(await stored()).toEqual(['a1', 'a2', 'a3', 'b1']);
  });

  test('holds nothing back, and a claim asks nobody for it', async () => {
    const { rig, hub, limit, submit, take } = await setup();
    await submit('before', 1);
    await limit('acme', { customer: 'acme', waiting: 30 });
    await submit('a', 20);
    expect(hub.limits.holding()).toEqual([]);
    expect(await rig.row('a20')).toMatchObject({ state: 'waiting', limited: false });
    expect(await take()).toHaveLength(21);
    expect(await rig.row('a20')).toMatchObject({ limited: false });
    expect(await rig.eventTypes('before')).not.toContain('job.held');
  });

  test('has room again when jobs have begun, ended or were cancelled, as of the last second', async () => {
    const { rig, hub, machine, limit, refusal, tick } = await setup();
    await limit('acme', { customer: 'acme', waiting: 2 });
    expect([await refusal('a1'), await refusal('a2')]).toEqual([null, null]);
    const lease = await machine.lease();
    await cancelJob(hub, 'a2', 'client');
    // Both have left, which a count that is a moment old does not know.
    expect(await refusal('a3')).toMatchObject(full);
    await tick();
    expect([await refusal('a3'), await refusal('a4')]).toEqual([null, null]);
    expect(await refusal('a5')).toMatchObject(full);
    // What comes back waits again, and is not refused.
    const { jobId, token } = lease;
    await machine.ask('exit', { jobId, token, cause: { kind: 'release', reason: 'drained' } });
    await tick();
    expect(await rig.row('a1')).toMatchObject({ state: 'waiting' });
    expect(await refusal('a5')).toMatchObject({ message: expect.stringContaining('more than 2 wait') });
  });

  test('counts scheduled and held jobs, too', async () => {
    const { env, limit, refusal } = await setup();
    await limit('acme', { customer: 'acme', waiting: 3, concurrent: 1 });
    const notBefore = new Date(env.clock.now() + 3_600_000).toISOString();
    expect(await refusal('later', { customer: 'acme', notBefore })).toBeNull();
    expect([await refusal('a1'), await refusal('a2')]).toEqual([null, null]);
    expect(await refusal('a3')).toMatchObject(full);
  });

  test('of every customer counts each on its own', async () => {
    const { limit, refusal, batch, tick } = await setup();
    await limit('each', { customer: '*', waiting: 2 });
    await batch('a', 2);
    expect(await refusal('a3')).toMatchObject({ message: expect.stringContaining('2 jobs of acme wait') });
    await batch('b', 2, { customer: 'birch' });
    await tick();
    expect(await refusal('a3')).toMatchObject(full);
    expect(await refusal('b3', { customer: 'birch' })).toMatchObject(full);
    expect(await refusal('c1', { customer: 'cedar' })).toBeNull();
  });

  test('of 0 refuses all, and one that is removed or raised lets them in at once', async () => {
    const { hub, limit, refusal } = await setup();
    await limit('acme', { customer: 'acme', waiting: 0, reason: 'unpaid' });
    expect(await refusal('a1')).toMatchObject({
      code: 'QUEUE_FULL',
      retryable: false,
      message: 'the limit acme accepts no jobs of acme (unpaid): raise its `waiting`, or remove it',
    });
    await limit('acme', { customer: 'acme', waiting: 1 });
    expect(await refusal('a1')).toBeNull();
    expect(await refusal('a2')).toMatchObject(full);
    await removeLimit(hub, { name: 'acme', actor: 'ann' });
    expect(await refusal('a2')).toBeNull();
  });

  test.each<[LimitDefinitionInput, object[], object[]]>([
    [
      { pool: 'heavy', waiting: 1 },
      [{ pool: 'heavy' }, { pool: 'standard' }],
      [{ pool: 'heavy', customer: 'birch' }],
    ],
    [
      { customer: 'acme', pool: 'heavy', waiting: 1 },
      [{ pool: 'heavy', customer: 'birch' }, { customer: 'acme' }, { pool: 'heavy', customer: 'acme' }],
      [{ pool: 'heavy', customer: 'acme' }],
    ],
    [
      { model: 'wan', waiting: 1 },
      [{ pool: 'heavy' }, { payload: wan, pool: 'heavy' }],
      [{ payload: wan, customer: 'birch' }],
    ],
    [
      { customer: '*', model: 'wan', waiting: 1 },
      [{ payload: wan }, { payload: wan, customer: 'birch' }, {}],
      [{ payload: wan }],
    ],
    [
      { pool: 'heavy', model: 'wan', waiting: 1 },
      [{ pool: 'heavy' }, { payload: wan }, { pool: 'heavy', payload: wan }],
      [{ pool: 'heavy', payload: wan }],
    ],
  ])('%j counts what it names', async (document, taken, refused) => {
    const { hub, limit, refusal, tick } = await setup();
    const model = { service: 'simulation', kind: 'checkpoint', memoryMb: 1, licence: 'MIT' } as const;
    const files = [{ name: 'w.bin', bytes: 5, sha256: 'a'.repeat(64), sources: [] }];
    await hub.records.putModel({ ...model, id: 'wan', files });
    await limit('x', document);
    for (const [n, more] of taken.entries()) expect(await refusal(`t${n}`, more)).toBeNull();
    for (const more of refused) expect(await refusal('r', more)).toMatchObject(full);
    await tick();
    for (const more of refused) expect(await refusal('r', more)).toMatchObject(full);
  });

  test('every limit that counts a job must have room, and one that has none takes none of the others', async () => {
    const { limit, refusal } = await setup();
    await limit('acme', { customer: 'acme', waiting: 3 });
    await limit('heavy', { pool: 'heavy', waiting: 1 });
    expect(await refusal('a1', { customer: 'acme', pool: 'heavy' })).toBeNull();
    for (const id of ['r1', 'r2', 'r3'])
      expect(await refusal(id, { customer: 'acme', pool: 'heavy' })).toMatchObject({
        fields: { name: 'heavy' },
      });
    expect([await refusal('a2'), await refusal('a3')]).toEqual([null, null]);
    expect(await refusal('a4')).toMatchObject({ fields: { name: 'acme' } });
  });
});

describe('a batch', () => {
  test('is refused whole, and one that can never fit is told so', async () => {
    const { limit, batch, stored } = await setup();
    await limit('acme', { customer: 'acme', waiting: 4 });
    await batch('a', 3);
    await expect(batch('b', 2)).rejects.toMatchObject({
      code: 'QUEUE_FULL',
      retryable: true,
      message: expect.stringContaining('3 wait and 2 more were sent: try again'),
    });
    await expect(batch('c', 5)).rejects.toMatchObject({
      retryable: false,
      message: expect.stringContaining('send at most 4 at once, or raise its `waiting`'),
    });
    expect(await stored()).toEqual(['a1', 'a2', 'a3']);
    await batch('d', 1);
  });

  test('of many customers under many limits is taken, although that needs many counts', async () => {
    const { hub, limit, asked, stored } = await setup();
    for (let n = 0; n < 11; n++) await limit(`l${n}`, { customer: '*', waiting: 1_000 + n });
    const jobs = Array.from({ length: 1_000 }, (_, n) => ({ service: 'simulation', customer: `c${n}` }));
    expect(await submitBatch(hub, jobs, { traceparent: null })).toHaveLength(1_000);
    expect(asked.flat()).toHaveLength(11_000);
    expect(Math.max(...asked.map(({ length }) => length))).toBe(64);
    expect(await stored()).toHaveLength(500);
  });

  test('of more jobs than the queue of all may hold is told that it never fits', async () => {
    const { batch, tick } = await setup({ config: { waitingLimit: 4 } });
    await expect(batch('a', 5)).rejects.toMatchObject({
      code: 'QUEUE_FULL',
      retryable: false,
      message: expect.stringContaining('send at most 4 at once'),
    });
    await batch('b', 4);
    await tick();
    await expect(batch('c', 4)).rejects.toMatchObject({ code: 'QUEUE_FULL', retryable: true });
  });

  test('of two customers is refused whole for one of them', async () => {
    const { hub, limit, stored } = await setup();
    await limit('each', { customer: '*', waiting: 1 });
    const jobs = ['acme', 'birch', 'acme'].map((customer) => ({ service: 'simulation', customer }));
    await expect(submitBatch(hub, jobs, { traceparent: null })).rejects.toMatchObject({ code: 'QUEUE_FULL' });
    expect(await stored()).toEqual([]);
    await submitBatch(hub, jobs.slice(0, 2), { traceparent: null });
  });
});

describe('a repeat', () => {
  test('of what was accepted is answered with its job, and takes no room', async () => {
    const { rig, limit, refusal, batch, tick, stored } = await setup();
    await limit('acme', { customer: 'acme', waiting: 2 });
    await batch('a', 2);
    expect((await batch('a', 2)).map(({ created }) => created)).toEqual([false, false]);
    await expect(batch('a', 3)).rejects.toMatchObject({ code: 'QUEUE_FULL' });
    expect(await refusal('a1')).toBeNull();
    expect(await refusal('a1', { customer: 'acme', priority: 9 })).toMatchObject({
      code: 'IDEMPOTENCY_CONFLICT',
    });
    await limit('acme', { customer: 'acme', waiting: 0 });
    await tick();
    expect(await rig.submit('a2', { customer: 'acme' })).toMatchObject({ id: 'a2' });
    await limit('acme', { customer: 'acme', waiting: 3 });
    expect(await refusal('a1')).toBeNull();
    expect((await batch('a', 3)).map(({ created }) => created)).toEqual([false, false, true]);
    expect(await stored()).toEqual(['a1', 'a2', 'a3']);
  });

  test('takes no room while it is answered', async () => {
    const commits = gate();
    const { env, limit, batch, refusal } = await setup({
      wrap: (records) => ({
        ...records,
        submitJobs: async (...asked) => {
          await commits.pass();
          return await records.submitJobs(...asked);
        },
      }),
    });
    await limit('acme', { customer: 'acme', waiting: 20 });
    await batch('a', 10);
    commits.shut();
    const again = Promise.all(Array.from({ length: 10 }, (_, n) => refusal(`a${n + 1}`)));
    await env.clock.settle();
    const fresh = refusal('new');
    await env.clock.settle();
    commits.open();
    expect([...(await again), await fresh]).toEqual(Array.from({ length: 11 }, () => null));
  });

  test('is answered although the queue of all is full, and nothing new comes with it', async () => {
    const { env, rig, stored } = await setup({ config: { waitingLimit: 2 } });
    await rig.submit('j1');
    await rig.submit('j2');
    await env.clock.advanceBy(1_100);
    expect(await rig.submit('j1')).toMatchObject({ id: 'j1', state: 'waiting' });
    await expect(rig.submit('j3')).rejects.toMatchObject({ code: 'QUEUE_FULL' });
    await expect(rig.submit('j1', { priority: 7 })).rejects.toMatchObject({ code: 'IDEMPOTENCY_CONFLICT' });
    expect(await stored()).toEqual(['j1', 'j2']);
  });
});

describe('others who make jobs wait', () => {
  test('a requeue is not refused, and counts', async () => {
    const { hub, limit, refusal, tick } = await setup();
    await limit('acme', { customer: 'acme', waiting: 1 });
    expect(await refusal('a1')).toBeNull();
    await cancelJob(hub, 'a1', 'client');
    await tick();
    expect(await refusal('a2')).toBeNull();
    expect(await requeueJob(hub, 'a1', 'ann')).toMatchObject({ state: 'waiting' });
    await tick();
    expect(await refusal('a3')).toMatchObject({ message: expect.stringContaining('more than 1 wait') });
  });
});

describe('a schedule', () => {
  const often = async (hub: Hub) => {
    const document = { cron: '* * * * *', job: { service: 'simulation', customer: 'acme' } };
    await saveSchedule(hub, { name: 'often', document, actor: 'ann' });
  };

  test('that is refused is tried again until it is too late, and logged once for each time', async () => {
    const { env, hub, limit, refusal, stored } = await setup({ config: { leaseTtlMs: 3_000 } });
    await limit('acme', { customer: 'acme', waiting: 1 });
    expect(await refusal('a1')).toBeNull();
    await env.clock.advanceBy(60_000 - (env.clock.now() % 60_000));
    await often(hub);
    const warnings = () => env.ring.entries().filter(({ event }) => event === 'schedule.failed');
    for (let n = 0; n < 18; n++) await env.clock.advanceBy(5_000);
    expect(await stored()).toEqual(['a1']);
    expect(await showSchedule(hub, 'often')).toMatchObject({ last: null });
    expect(warnings()).toHaveLength(1);
    for (let n = 0; n < 8; n++) await env.clock.advanceBy(5_000);
    expect(warnings()).toHaveLength(2);
    await limit('acme', { customer: 'acme', waiting: 9 });
    await env.clock.advanceBy(11_000);
    expect(await stored()).toHaveLength(2);
  });

  test('that a limit of 0 refuses gives up that time at once', async () => {
    const { env, hub, limit, stored } = await setup({ config: { leaseTtlMs: 3_000 } });
    await limit('acme', { customer: 'acme', waiting: 0 });
    await often(hub);
    for (let n = 0; n < 13; n++) await env.clock.advanceBy(5_000);
    expect(await showSchedule(hub, 'often')).toMatchObject({
      last: { outcome: 'failed', detail: expect.stringContaining('QUEUE_FULL') },
    });
    expect(await stored()).toEqual([]);
  });

  test('comes due beside more refused ones than one page holds', async () => {
    const { env, hub, limit, refusal, stored } = await setup({ config: { leaseTtlMs: 3_000 } });
    await limit('acme', { customer: 'acme', waiting: 1 });
    expect(await refusal('a1')).toBeNull();
    const tenth = 600_000;
    await env.clock.advanceBy(tenth - (env.clock.now() % tenth) - 3_000);
    const save = (name: string, customer: string) =>
      saveSchedule(hub, {
        name,
        document: { cron: '*/10 * * * *', job: { service: 'simulation', customer } },
        actor: 'ann',
      });
    await save('birch', 'birch');
    for (let n = 0; n < 205; n++) await save(`c-${n}`, 'acme');
    await save('zoe', 'zoe');
    await env.clock.advanceBy(6_000);
    expect(await stored()).toEqual([
      'a1',
      expect.stringMatching(/^birch\./),
      expect.stringMatching(/^zoe\./),
    ]);
  });
});

test('what is refused and what waits is told before and after the submission', async () => {
  const { hub, limit, submit, refusal, tick } = await setup();
  await limit('acme', { customer: 'acme', concurrent: 1, waiting: 3 });
  await submit('a', 3);
  const words = (await refusal('a4'))?.message;
  const dry = (id: string) => dryRunJob(hub, { service: 'simulation', customer: 'acme', id });
  expect(await dry('a4')).toMatchObject({
    expectedStartMs: null,
    warnings: expect.arrayContaining([`it would be refused now: ${words}`]),
  });
  // That of the queue of all, too.
  Object.assign(hub.config, { waitingLimit: 2 });
  await tick();
  const byAll = (await refusal('b1', { customer: 'birch' }))?.message;
  expect(byAll).toContain('EMP_WAITING_LIMIT');
  expect(await dryRunJob(hub, { service: 'simulation', customer: 'birch' })).toMatchObject({
    expectedStartMs: null,
    warnings: expect.arrayContaining([`it would be refused now: ${byAll}`]),
  });
  Object.assign(hub.config, { waitingLimit: 100 });
  // Whoever asks takes no room, and a repeat would be answered.
  expect((await dry('a1')).warnings.join()).not.toContain('refused');
  expect((await explainJob(hub, 'a3')).summary).toEqual([
    'It waits for room: the limit acme lets in 1 at once of acme, while at most 3 wait; 1 is let in and 3 wait now.',
  ]);
  await removeLimit(hub, { name: 'acme', actor: 'ann' });
  expect((await dry('a4')).warnings).toEqual([]);
});
