import { describe, expect, test } from 'vitest';
import { simulationSpec } from '#actors/connectors/simulation/simulation-spec.ts';
import { resultObjectKey } from '#protocol/job.ts';
import { simEnv } from '#simulations/sim-env.ts';
import { SimObjects } from '#simulations/sim-objects.ts';
import { hubRig } from './hub-rig.ts';

const leaseTtlMs = 3_000;

async function setup(config: object = {}) {
  const env = simEnv({ seed: 'lease' });
  const objects = new SimObjects({ clock: env.clock });
  const rig = await hubRig({
    env,
    objects,
    services: [simulationSpec],
    settle: () => env.clock.settle(),
    config: { leaseTtlMs, retryBaseMs: 1_000, ...config },
  });
  // Past the age at which a hub begins to shorten leases.
  await env.clock.advanceBy(leaseTtlMs + 10);
  return { clock: env.clock, rig, hub: rig.core.hub, objects };
}

const failure = (retryable: boolean) =>
  ({ code: retryable ? 'CONNECTOR_FAILED' : 'JOB_FAILED', message: 'no', retryable }) as const;

describe('claim', () => {
  test('hands out the job as it was submitted, with a token, and its claim is recorded', async () => {
    const { clock, rig } = await setup();
    const machine = await rig.join({ machineId: 'm1' });
    const job = await rig.submit('j1', { payload: { durationMs: 7 } });
    expect(await machine.lease()).toMatchObject({
      jobId: 'j1',
      run: 1,
      attempts: 0,
      service: 'simulation',
      payload: { durationMs: 7 },
      traceparent: job.traceparent,
    });
    await clock.advanceBy(10);
    expect(await rig.row('j1')).toMatchObject({ state: 'leased', machineId: 'm1', incarnation: 1, runs: 1 });
    expect(await rig.eventTypes('j1')).toEqual(['job.submitted', 'job.leased']);
  });

  test('R9: a payload over what the broker keeps is read in records', async () => {
    const { rig } = await setup();
    const machine = await rig.join({ machineId: 'm1' });
    const models = Array.from({ length: 8 }, (_, index) => `m${index}`);
    const filler = 'x'.repeat(9_000);
    const other = await rig.join({
      machineId: 'm2',
      machineClass: { services: [{ service: 'other', version: '1', slots: 1 }] },
    });
    await rig.submit('j1', { service: 'other', payload: { filler, models } });
    expect(await machine.claim()).toEqual({ kind: 'empty' });
    expect((await other.lease({ service: 'other' })).payload).toEqual({ filler, models });
  });

  test('T22: a machine whose class misses a requirement never gets the job', async () => {
    const { rig } = await setup();
    await rig.submit('j1', { requirements: { ramMb: 8_000, tags: ['fp8'] } });
    const weak = await rig.join({ machineId: 'weak' });
    const strong = await rig.join({ machineId: 'strong', machineClass: { ramMb: 9_000, tags: ['fp8'] } });
    expect(await weak.claim()).toEqual({ kind: 'empty' });
    expect((await strong.lease()).jobId).toBe('j1');
  });

  test('a pinned job goes to its machine only', async () => {
    const { rig } = await setup();
    await rig.submit('j1', { requirements: { machineId: 'm2' } });
    const first = await rig.join({ machineId: 'm1' });
    const second = await rig.join({ machineId: 'm2' });
    expect(await first.claim()).toEqual({ kind: 'empty' });
    expect((await second.lease()).jobId).toBe('j1');
  });

  test('what can begin soonest comes first, an urgent cold job before it', async () => {
    const { rig, hub } = await setup();
    for (const [id, bytes] of [
      ['far', 9e12],
      ['near', 400_000_000],
      ['warm', 9e12],
    ] as const)
      await hub.models.put({
        id,
        service: 'simulation',
        kind: 'checkpoint',
        memoryMb: 1,
        licence: 'MIT',
        files: [{ name: 'w', bytes, sha256: 'a'.repeat(64), sources: [] }],
      });
    const machine = await rig.join({ machineId: 'm1' });
    for (const id of ['far', 'near', 'warm']) await rig.submit(id, { payload: { models: [id] } });
    await rig.submit('modelless', {});
    await rig.submit('urgent', { priority: 100, payload: { models: ['far'] } });
    const order: string[] = [];
    for (let claims = 0; claims < 5; claims++)
      order.push((await machine.lease({ resident: ['warm'] })).jobId);
    expect(order).toEqual(['urgent', 'warm', 'modelless', 'near', 'far']);
  });

  test('which lanes have work is asked again after a second', async () => {
    const { clock, rig, hub } = await setup();
    const lanes = () => [...hub.lanes.waiting(group).keys()];
    const machine = await rig.join({ machineId: 'm1' });
    await rig.submit('j1', {});
    const { group } = (await hub.records.getJob('j1')) ?? { group: '' };
    expect(lanes()).toEqual(['-']);
    await machine.lease();
    await clock.advanceBy(1_000);
    expect(await machine.claim()).toEqual({ kind: 'empty' });
    expect(lanes()).toEqual([]);
  });

  test('a repeated request is answered with the same lease', async () => {
    const { rig } = await setup();
    const machine = await rig.join({ machineId: 'm1' });
    await rig.submit('j1');
    await rig.submit('j2');
    const first = await machine.lease({ requestId: 5 });
    expect(await machine.lease({ requestId: 5 })).toEqual(first);
    expect((await machine.lease({ requestId: 6 })).jobId).toBe('j2');
  });

  test('an idle machine is woken by a submit, also of a group that it never offered', async () => {
    const { rig } = await setup();
    const machine = await rig.join({ machineId: 'm1' });
    expect(await machine.claim()).toEqual({ kind: 'empty' });
    await rig.submit('new-group', { requirements: { cpuCores: 2 } });
    expect(machine.notices.map((notice) => notice.type)).toEqual(['wake']);
    expect((await machine.lease()).jobId).toBe('new-group');
    expect(await machine.claim()).toEqual({ kind: 'empty' });
    await rig.submit('known-group', { requirements: { cpuCores: 2 } });
    expect(machine.notices.map((notice) => notice.type)).toEqual(['wake', 'wake']);
  });

  test('a cordoned machine gets nothing and is not woken; uncordoned it is served again', async () => {
    const { rig, hub } = await setup();
    const { cordonMachine } = await import('./machines.ts');
    const machine = await rig.join({ machineId: 'm1' });
    await machine.claim();
    await cordonMachine(hub, 'm1', true);
    await rig.submit('j1');
    expect(machine.notices).toEqual([{ type: 'cordon', body: { cordoned: true } }]);
    expect(await machine.claim()).toEqual({ kind: 'cordoned' });
    expect(await machine.beat()).toMatchObject({ kind: 'ok', work: false });
    await cordonMachine(hub, 'm1', false);
    expect((await machine.lease()).jobId).toBe('j1');
  });

  test('a beat that was sent before its machine heard of its job does not make it idle', async () => {
    const { rig } = await setup();
    const [slow, other] = [await rig.join({ machineId: 'm1' }), await rig.join({ machineId: 'm2' })];
    await rig.submit('j1');
    await slow.lease({ requestId: 1 });
    expect(await slow.beat({ openRequestId: 1 })).toMatchObject({ kind: 'ok', work: false });
    expect(await other.claim()).toEqual({ kind: 'empty' });
    await rig.submit('j2');
    expect([slow, other].map((machine) => machine.notices.map((notice) => notice.type))).toEqual([
      [],
      ['wake'],
    ]);
  });

  test('a scheduled job is claimable from its time on, and an idle machine is woken then', async () => {
    const { clock, rig } = await setup();
    const machine = await rig.join({ machineId: 'm1' });
    await rig.submit('j1', { notBefore: new Date(clock.now() + 2_000).toISOString() });
    expect(await machine.claim()).toEqual({ kind: 'empty' });
    await machine.live(clock, { forMs: 1_500, running: [] });
    await machine.beat();
    expect(machine.notices).toEqual([]);
    await clock.advanceBy(600);
    expect(machine.notices.map((notice) => notice.type)).toEqual(['wake']);
    expect((await machine.lease()).jobId).toBe('j1');
  });
});

describe('complete', () => {
  test('commits the result, removes the job from the broker and claims the next in one call', async () => {
    const { clock, rig } = await setup();
    const machine = await rig.join({ machineId: 'm1' });
    await rig.submit('j1');
    await rig.submit('j2');
    const first = await machine.lease();
    const next = { requestId: 50, free: [{ service: 'simulation', slots: 1 }], resident: [] };
    const answer = await machine.complete(first, { data: { seconds: 3 }, next });
    expect(answer).toMatchObject({
      kind: 'committed',
      next: { kind: 'leased', assignment: { jobId: 'j2' } },
    });
    await clock.advanceBy(10);
    expect(await rig.row('j1')).toMatchObject({
      state: 'succeeded',
      result: { outputs: [], data: { seconds: 3 } },
    });
    expect(await rig.ports.broker.inspect('j1')).toBeNull();
    expect((await rig.eventTypes('j1')).sort()).toEqual(['job.leased', 'job.submitted', 'job.succeeded']);
  });

  test('a repeat of a committed completion is committed, not refused', async () => {
    const { rig } = await setup();
    const machine = await rig.join({ machineId: 'm1' });
    await rig.submit('j1');
    const lease = await machine.lease();
    await machine.complete(lease);
    expect(await machine.complete(lease)).toMatchObject({ kind: 'committed' });
  });

  const output = (lease: { jobId: string; token: string }, more: object = {}) => ({
    name: 'a.png',
    object: resultObjectKey({ ...lease, name: 'a.png' }),
    bytes: 3,
    sha256: '039058c6f2c0cb492c533b0a4d14ef77cc0f78abccced5287d84a1a2011cfb81',
    mime: 'image/png',
    ...more,
  });

  test.each([
    ['is not stored', {}, false, /nothing is stored/],
    ['has another size', { bytes: 4 }, true, /3 bytes are stored, 4 reported/],
    ['has another hash', { sha256: 'f'.repeat(64) }, true, /SHA-256/],
    ['lies under the key of another lease', { object: 'results/j1/1/a.png' }, true, /its object key must be/],
  ])('an output that %s is answered and nothing is committed', async (_, wrong, stored, detail) => {
    const { rig, objects } = await setup();
    const machine = await rig.join({ machineId: 'm1' });
    await rig.submit('j1');
    const lease = await machine.lease();
    if (stored)
      objects.store({ key: output(lease).object, bytes: new Uint8Array([1, 2, 3]), mime: 'image/png' });
    const answer = await machine.complete(lease, { outputs: [output(lease, wrong)] });
    expect(answer).toMatchObject({ kind: 'missingOutput', detail: expect.stringMatching(detail) });
    expect((await rig.row('j1')).result).toBeNull();
    objects.store({ key: output(lease).object, bytes: new Uint8Array([1, 2, 3]), mime: 'image/png' });
    expect(await machine.complete(lease, { outputs: [output(lease)] })).toMatchObject({ kind: 'committed' });
  });

  test('the lease of another machine completes nothing', async () => {
    const { rig } = await setup();
    const holder = await rig.join({ machineId: 'm1' });
    const thief = await rig.join({ machineId: 'm2' });
    await rig.submit('j1');
    const lease = await holder.lease();
    expect(await thief.complete(lease)).toMatchObject({ kind: 'refused' });
    expect(
      await thief.ask('exit', {
        jobId: 'j1',
        token: lease.token,
        cause: { kind: 'fail', error: failure(false) },
      }),
    ).toEqual({ kind: 'unknown' });
    expect(await thief.ask('sign', { what: 'inputs', jobId: 'j1', token: lease.token })).toMatchObject({
      kind: 'refused',
      error: { code: 'LEASE_LOST' },
    });
    expect((await rig.row('j1')).state).not.toBe('succeeded');
    expect(await holder.complete(lease)).toMatchObject({ kind: 'committed' });
  });

  test('a token that nobody was given is refused until the broker can tell whose it is', async () => {
    const { rig } = await setup();
    const machine = await rig.join({ machineId: 'm1' });
    await rig.submit('j1');
    await expect(machine.complete({ jobId: 'j1', token: '9999999999999999' })).rejects.toThrow(
      /BROKER_UNAVAILABLE/,
    );
    expect((await rig.row('j1')).state).toBe('waiting');
    expect(await machine.complete({ jobId: 'no-such-job', token: '5' })).toMatchObject({ kind: 'refused' });
  });
});

describe('exit', () => {
  test('a retryable failure backs off and is tried again with its attempt counted', async () => {
    const { clock, rig } = await setup();
    const machine = await rig.join({ machineId: 'm1' });
    await rig.submit('j1');
    const lease = await machine.lease();
    expect(
      await machine.ask('exit', {
        jobId: 'j1',
        token: lease.token,
        cause: { kind: 'fail', error: failure(true) },
      }),
    ).toEqual({ kind: 'ok' });
    const after = await rig.row('j1');
    expect(after).toMatchObject({ state: 'scheduled', attempts: 1, error: failure(true) });
    expect(after.notBeforeMs).toBeGreaterThan(clock.now());
    expect(after.notBeforeMs).toBeLessThanOrEqual(clock.now() + 1_000);
    await clock.advanceBy(1_010);
    expect(await machine.lease()).toMatchObject({ jobId: 'j1', run: 2, attempts: 1 });
  });

  test('the last attempt that fails leaves the job dead, with the reason', async () => {
    const { clock, rig } = await setup({ retryBaseMs: 0 });
    const machine = await rig.join({ machineId: 'm1' });
    await rig.submit('j1', { maxAttempts: 2 });
    for (let tries = 0; tries < 2; tries++) {
      const lease = await machine.lease();
      await machine.ask('exit', {
        jobId: 'j1',
        token: lease.token,
        cause: { kind: 'fail', error: failure(true) },
      });
      await clock.advanceBy(10);
    }
    expect(await rig.row('j1')).toMatchObject({
      state: 'dead',
      attempts: 2,
      reason: expect.stringContaining('attempts'),
    });
    expect(await rig.ports.broker.inspect('j1')).toBeNull();
  });

  test('a permanent failure ends the job at once', async () => {
    const { rig } = await setup();
    const machine = await rig.join({ machineId: 'm1' });
    await rig.submit('j1');
    const lease = await machine.lease();
    await machine.ask('exit', {
      jobId: 'j1',
      token: lease.token,
      cause: { kind: 'fail', error: failure(false) },
    });
    expect(await rig.row('j1')).toMatchObject({ state: 'failed', error: failure(false) });
    expect(await machine.claim()).toEqual({ kind: 'empty' });
  });

  test('a release keeps the attempt and another machine is woken for the job', async () => {
    const { clock, rig } = await setup();
    const machine = await rig.join({ machineId: 'm1' });
    await rig.submit('j1');
    const lease = await machine.lease();
    const other = await rig.join({ machineId: 'm2' });
    expect(await other.claim()).toEqual({ kind: 'empty' });
    await machine.ask('exit', {
      jobId: 'j1',
      token: lease.token,
      cause: { kind: 'release', reason: 'the provider takes the machine' },
    });
    expect(other.notices.map((notice) => notice.type)).toEqual(['wake']);
    await clock.advanceBy(10);
    expect(await rig.row('j1')).toMatchObject({ state: 'waiting', attempts: 0, runs: 1 });
    expect(await other.lease()).toMatchObject({ run: 2, attempts: 0 });
  });

  test('what is said of a lease that ended changes nothing', async () => {
    const { clock, rig } = await setup({ retryBaseMs: 0 });
    const machine = await rig.join({ machineId: 'm1' });
    await rig.submit('j1');
    const first = await machine.lease();
    await machine.ask('exit', { jobId: 'j1', token: first.token, cause: { kind: 'release', reason: 'x' } });
    await clock.advanceBy(10);
    const second = await machine.lease();
    expect(await machine.complete(first)).toMatchObject({ kind: 'refused' });
    await machine.ask('exit', {
      jobId: 'j1',
      token: first.token,
      cause: { kind: 'fail', error: failure(false) },
    });
    expect((await rig.row('j1')).state).not.toBe('failed');
    expect(await machine.complete(second)).toMatchObject({ kind: 'committed' });
  });
});
