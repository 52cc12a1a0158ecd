import { describe, expect, test } from 'vitest';
import { simulationSpec } from '#actors/connectors/simulation/simulation-spec.ts';
import { EmpError, toEmpError } from '#protocol/errors.ts';
import type { HubConfigInput } from '#runtime/hub-config.ts';
import { simEnv } from '#simulations/sim-env.ts';
import { SimObjects } from '#simulations/sim-objects.ts';
import { cancelJob } from './cancel.ts';
import type { HubPorts } from './hub.ts';
import { hubRig, RigMachine } from './hub-rig.ts';
import { drainMachine } from './machines.ts';
import { requeueJob } from './requeue.ts';

const leaseTtlMs = 3_000;

async function setup({ wrap, ...config }: { wrap?: (ports: HubPorts) => HubPorts } & HubConfigInput = {}) {
  const env = simEnv({ seed: 'lease' });
  const objects = new SimObjects({ clock: env.clock });
  const rig = await hubRig({
    env,
    objects,
    services: [simulationSpec],
    settle: () => env.clock.settle(),
    config: { leaseTtlMs, retryBaseMs: 1_000, ...config },
    ...(wrap && { wrap }),
  });
  // Past the age at which a hub begins to shorten leases.
  await env.clock.advanceBy(leaseTtlMs + 10);
  return { clock: env.clock, rig, hub: rig.core.hub, objects };
}

describe('silence', () => {
  test('T30: a machine that stops beating loses its job within moments of the end of its lease, the attempt counted', async () => {
    const { clock, rig } = await setup();
    const machine = await rig.join({ machineId: 'm1' });
    await rig.submit('j1');
    const lease = await machine.lease();
    await machine.live(clock, { forMs: 2 * leaseTtlMs, running: [lease] });
    expect((await rig.row('j1')).state).toBe('leased');
    await clock.advanceBy(leaseTtlMs - 10);
    expect((await rig.row('j1')).state).toBe('leased');
    await clock.advanceBy(50);
    expect(await rig.row('j1')).toMatchObject({ state: 'waiting', attempts: 1 });
    if (machine.welcome?.kind !== 'welcome') throw new Error('not welcome');
    const back = await rig.join({ machineId: 'm1', token: machine.welcome.machineToken, incarnation: 1 });
    expect(await back.complete(lease)).toMatchObject({ kind: 'refused' });
    expect(await (await rig.join({ machineId: 'm2' })).claim()).toMatchObject({
      kind: 'leased',
      assignment: { run: 2 },
    });
  });

  test('T26: a link that closes without a word leaves two thirds of the lease', async () => {
    const { clock, rig } = await setup();
    const machine = await rig.join({ machineId: 'm1' });
    await rig.submit('j1');
    await machine.lease();
    await machine.vanish();
    await clock.advanceBy((leaseTtlMs * 2) / 3 - 10);
    expect((await rig.row('j1')).state).toBe('leased');
    await clock.advanceBy(60);
    expect((await rig.row('j1')).state).toBe('waiting');
  });

  test('a reconnect with the machine token goes on with the same incarnation and keeps the job', async () => {
    const { clock, rig } = await setup();
    const machine = await rig.join({ machineId: 'm1' });
    if (machine.welcome?.kind !== 'welcome') throw new Error('not welcome');
    const { machineToken: token } = machine.welcome;
    await rig.submit('j1');
    const lease = await machine.lease();
    await machine.vanish();
    await clock.advanceBy(1_000);
    const back = await rig.join({ machineId: 'm1', token, incarnation: 1 });
    expect(back.welcome).toMatchObject({ kind: 'welcome', incarnation: 1 });
    await back.live(clock, { forMs: 3 * leaseTtlMs, running: [lease] });
    expect(await back.complete(lease)).toMatchObject({ kind: 'committed' });
  });

  test('T26: a machine that leaves gives its jobs back at once, attempt kept', async () => {
    const { clock, rig } = await setup();
    const machine = await rig.join({ machineId: 'm1' });
    await rig.submit('j1');
    await machine.lease();
    await machine.ask('leave', { reason: 'drained' });
    await clock.advanceBy(10);
    expect(await rig.row('j1')).toMatchObject({ state: 'waiting', attempts: 0 });
    expect(machine.closed).toMatchObject({ code: 1_000 });
    expect(await rig.ports.records.getMachine('m1')).toMatchObject({ state: 'left' });
  });

  test('a lease that two beats do not name is released through records', async () => {
    const { clock, rig } = await setup();
    const machine = await rig.join({ machineId: 'm1' });
    await rig.submit('j1');
    await machine.lease();
    await machine.beat({ slots: 0 });
    await clock.advanceBy(500);
    expect((await rig.row('j1')).state).toBe('leased');
    await machine.beat({ slots: 0 });
    await clock.advanceBy(10);
    expect(await rig.row('j1')).toMatchObject({ state: 'waiting', attempts: 0 });
  });

  test('a run longer than its maxRunMs is ended, counted, and the machine told', async () => {
    const { clock, rig } = await setup({ sweepEveryMs: 500 });
    const machine = await rig.join({ machineId: 'm1' });
    await rig.submit('j1', { maxRunMs: 5_000 });
    const lease = await machine.lease();
    await machine.live(clock, { forMs: 4_500, running: [lease] });
    expect((await rig.row('j1')).state).toBe('leased');
    await machine.live(clock, { forMs: 1_500, running: [lease] });
    expect(await rig.row('j1')).toMatchObject({ state: 'waiting', attempts: 1 });
    expect(machine.notices).toContainEqual({ type: 'drop', body: { jobId: 'j1' } });
  });

  test('a job that is not claimed within its TTL is dead and gone from the broker', async () => {
    const { clock, rig } = await setup({ sweepEveryMs: 500 });
    await rig.submit('j1', { ttlMs: 2_000 });
    await clock.advanceBy(2_600);
    expect(await rig.row('j1')).toMatchObject({ state: 'dead' });
    expect(await rig.ports.broker.inspect('j1')).toBeNull();
  });

  test('a job that was claimed within its TTL lives on, though records have not heard of the claim', async () => {
    const { clock, rig } = await setup({
      sweepEveryMs: 500,
      wrap: (ports: HubPorts) => ({
        ...ports,
        broker: { ...ports.broker, events: async () => Promise.reject(new EmpError('BROKER_UNAVAILABLE')) },
      }),
    });
    await rig.submit('j1', { ttlMs: 2_000 });
    const machine = await rig.join({ machineId: 'm1' });
    const lease = await machine.lease();
    await machine.live(clock, { forMs: 3_000, running: [lease] });
    expect(await rig.row('j1')).toMatchObject({ state: 'waiting', token: null });
    expect(await machine.beat({ running: [lease], slots: 0 })).toMatchObject({ drop: [] });
    expect(await machine.complete(lease)).toMatchObject({ kind: 'committed' });
    expect((await rig.row('j1')).state).toBe('succeeded');
  });

  test('R11: a machine that fell silent without a job is shown as lost, and joined again when it speaks', async () => {
    const { clock, rig } = await setup({ sweepEveryMs: 500 });
    const machine = await rig.join({ machineId: 'm1' });
    if (machine.welcome?.kind !== 'welcome') throw new Error('not welcome');
    await machine.beat();
    await machine.vanish();
    await clock.advanceBy(4 * leaseTtlMs);
    expect(await rig.ports.records.getMachine('m1')).toMatchObject({ state: 'lost' });
    await rig.join({ machineId: 'm1', token: machine.welcome.machineToken, incarnation: 1 });
    expect(await rig.ports.records.getMachine('m1')).toMatchObject({ state: 'joined', incarnation: 1 });
  });
});

describe('drain', () => {
  test('of a machine between two links is told with its next beat, once', async () => {
    const { clock, rig, hub } = await setup();
    const machine = await rig.join({ machineId: 'm1' });
    if (machine.welcome?.kind !== 'welcome') throw new Error('not welcome');
    await machine.vanish();
    await drainMachine(hub, 'm1', {});
    const back = await rig.join({ machineId: 'm1', token: machine.welcome.machineToken, incarnation: 1 });
    await back.live(clock, { forMs: 1_000, running: [] });
    expect(back.notices).toEqual([
      { type: 'drain', body: { deadlineMs: 600_000, reason: 'drained by an operator' } },
    ]);
  });

  test('with a deadline is not told again without it', async () => {
    const { clock, rig, hub } = await setup();
    const machine = await rig.join({ machineId: 'm1' });
    await drainMachine(hub, 'm1', { deadlineMs: 3_600_000 });
    await machine.live(clock, { forMs: 1_000, running: [] });
    expect(machine.notices.map((notice) => notice.body['deadlineMs'])).toEqual([3_600_000]);
  });
});

describe('a link that stays open while its machine is gone', () => {
  test('is closed with the end of its lease, and the machine is shown as lost', async () => {
    const { clock, rig, hub } = await setup();
    const machine = await rig.join({ machineId: 'm1' });
    await rig.submit('j1');
    await machine.lease();
    await clock.advanceBy(leaseTtlMs - 10);
    expect(machine.closed).toBeNull();
    await clock.advanceBy(50);
    expect(machine.closed).toMatchObject({ code: 4_000 });
    expect(hub.links.size).toBe(0);
    expect(await rig.ports.records.getMachine('m1')).toMatchObject({ state: 'lost' });
  });

  test('is closed after two lease times also where it held nothing', async () => {
    const { clock, rig, hub } = await setup();
    const machine = await rig.join({ machineId: 'm1' });
    await clock.advanceBy(2 * leaseTtlMs - 10);
    expect(machine.closed).toBeNull();
    await clock.advanceBy(20);
    expect(machine.closed).toMatchObject({ code: 4_000 });
    expect(hub.links.size).toBe(0);
    expect(await rig.ports.records.getMachine('m1')).toMatchObject({ state: 'lost' });
  });

  test('stays as long as its machine says anything', async () => {
    const { clock, rig } = await setup();
    const machine = await rig.join({ machineId: 'm1' });
    await machine.live(clock, { forMs: 5 * leaseTtlMs, running: [] });
    expect(machine.closed).toBeNull();
    expect(await rig.ports.records.getMachine('m1')).toMatchObject({ state: 'joined' });
  });

  test('is closed too before anybody has said hello', async () => {
    const { clock, rig, hub } = await setup();
    const { token } = hub.tokens.join({ id: 'x', nowMs: clock.now(), ttlMs: 60_000 });
    const mute = new RigMachine({ core: rig.core, token, settle: () => clock.settle() });
    await clock.advanceBy(2 * leaseTtlMs + 10);
    expect(mute.closed).toMatchObject({ code: 4_000 });
  });
});

describe('cancel and requeue', () => {
  test('a waiting job is cancelled at once', async () => {
    const { rig, hub } = await setup();
    await rig.submit('j1');
    expect(await cancelJob(hub, 'j1', 'client')).toMatchObject({
      state: 'cancelled',
      job: { state: 'cancelled' },
    });
    const machine = await rig.join({ machineId: 'm1' });
    expect(await machine.claim()).toEqual({ kind: 'empty' });
  });

  test('a running job is cancelled by its machine, which is told at once and again by its beat', async () => {
    const { clock, rig, hub } = await setup();
    const machine = await rig.join({ machineId: 'm1' });
    await rig.submit('j1');
    const lease = await machine.lease();
    expect((await cancelJob(hub, 'j1', 'client')).state).toBe('requested');
    expect(machine.notices.map((notice) => notice.type)).toEqual(['cancel']);
    expect(await machine.beat({ running: [lease], slots: 0 })).toMatchObject({ cancel: ['j1'] });
    await machine.ask('exit', {
      jobId: 'j1',
      token: lease.token,
      cause: { kind: 'cancel', reason: 'asked to' },
    });
    await clock.advanceBy(10);
    expect((await rig.row('j1')).state).toBe('cancelled');
    expect(await rig.ports.broker.inspect('j1')).toBeNull();
  });

  test('a machine that dies while it is asked to cancel leaves a cancelled job, not a waiting one', async () => {
    const { clock, rig, hub } = await setup();
    const machine = await rig.join({ machineId: 'm1' });
    await rig.submit('j1');
    await machine.lease();
    await cancelJob(hub, 'j1', 'client');
    await clock.advanceBy(leaseTtlMs + 100);
    expect((await rig.row('j1')).state).toBe('cancelled');
    expect(await rig.ports.broker.inspect('j1')).toBeNull();
  });

  test('a completion that was committed first wins', async () => {
    const { rig, hub } = await setup();
    const machine = await rig.join({ machineId: 'm1' });
    await rig.submit('j1');
    await machine.complete(await machine.lease());
    await expect(cancelJob(hub, 'j1', 'client')).rejects.toMatchObject({ code: 'CONFLICT' });
    await expect(cancelJob(hub, 'none', 'client')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  test('a cancelled job that is requeued runs again under a higher floor', async () => {
    const { rig, hub } = await setup();
    await rig.submit('j1');
    await cancelJob(hub, 'j1', 'client');
    const again = await requeueJob(hub, 'j1', 'operator');
    expect(again).toMatchObject({ state: 'waiting', attempts: 0, cancelRequestedAtMs: null });
    expect((await (await rig.join({ machineId: 'm1' })).lease()).jobId).toBe('j1');
  });

  test('a requeued job is not kept out by what the broker remembers of a claim that records never saw', async () => {
    const { clock, rig, hub } = await setup();
    await rig.submit('j1');
    await cancelJob(hub, 'j1', 'client');
    const token = String(clock.now() * 1_000);
    await rig.ports.broker.complete({ jobId: 'j1', token, fenceFloor: '0' });
    await clock.advanceBy(1);
    await requeueJob(hub, 'j1', 'operator');
    const machine = await rig.join({ machineId: 'm1' });
    expect((await machine.lease()).jobId).toBe('j1');
  });

  test('a token that somebody made up for an ended job does not keep out the job when it is requeued', async () => {
    const { rig, hub } = await setup();
    const liar = await rig.join({ machineId: 'm1' });
    await rig.submit('j1');
    await cancelJob(hub, 'j1', 'client');
    const made = { jobId: 'j1', token: '9000000000000000' };
    expect(await liar.complete(made)).toMatchObject({ kind: 'refused' });
    expect(await liar.ask('exit', { ...made, cause: { kind: 'release', reason: 'mine' } })).toEqual({
      kind: 'ok',
    });
    await requeueJob(hub, 'j1', 'operator');
    expect(await rig.ports.broker.inspect('j1')).toMatchObject({ state: 'waiting' });
    expect((await liar.lease()).jobId).toBe('j1');
  });

  test.each(['waiting', 'succeeded', 'unknown'] as const)(
    'a job that is %s is not requeued',
    async (kind) => {
      const { rig, hub } = await setup();
      const machine = await rig.join({ machineId: 'm1' });
      if (kind !== 'unknown') await rig.submit('j1');
      if (kind === 'succeeded') await machine.complete(await machine.lease());
      const error = await requeueJob(hub, 'j1', 'operator').then(() => null, toEmpError);
      expect(error?.code).toBe(kind === 'unknown' ? 'NOT_FOUND' : 'CONFLICT');
    },
  );
});

describe('loss of the broker', () => {
  test('a job that runs through the loss is adopted by its beat and completes; nothing is counted', async () => {
    const { clock, rig } = await setup();
    const machine = await rig.join({ machineId: 'm1' });
    await rig.submit('j1');
    const lease = await machine.lease();
    await clock.advanceBy(50);
    rig.server.loseAll();
    await machine.live(clock, { forMs: 3 * leaseTtlMs, running: [lease] });
    expect(await rig.ports.broker.inspect('j1')).toMatchObject({ state: 'leased', token: lease.token });
    expect(await machine.complete(lease)).toMatchObject({ kind: 'committed' });
    expect(await rig.row('j1')).toMatchObject({ state: 'succeeded', attempts: 0 });
  });

  test('a job whose machine died with the broker is released, not counted, and runs again', async () => {
    const { clock, rig } = await setup();
    const machine = await rig.join({ machineId: 'm1' });
    await rig.submit('j1');
    await machine.lease();
    await clock.advanceBy(50);
    rig.server.loseAll();
    rig.core.hub.poke.reconciler();
    await clock.advanceBy(3 * leaseTtlMs);
    expect(await rig.row('j1')).toMatchObject({ state: 'waiting', attempts: 0, runs: 1 });
    const other = await rig.join({ machineId: 'm2' });
    expect(await other.lease()).toMatchObject({ run: 2, attempts: 0 });
  });

  test('a completion during the loss is committed and the rebuilt broker does not run the job again', async () => {
    const { clock, rig } = await setup();
    const machine = await rig.join({ machineId: 'm1' });
    await rig.submit('j1');
    const lease = await machine.lease();
    const mark = rig.server.mark();
    expect(await machine.complete(lease)).toMatchObject({ kind: 'committed' });
    rig.server.rollback(mark);
    rig.core.hub.poke.reconciler();
    await clock.advanceBy(3 * leaseTtlMs);
    expect((await rig.row('j1')).state).toBe('succeeded');
    expect(await rig.ports.broker.inspect('j1')).toBeNull();
  });
});

describe('roles', () => {
  test('a second hub takes the roles that the first gives back, and serves the same jobs', async () => {
    const { clock, rig } = await setup();
    const second = await rig.another();
    await rig.submit('j1');
    await rig.core.stop();
    await clock.advanceBy(10_000);
    const { token } = second.hub.tokens.join({ id: 'x', nowMs: clock.now(), ttlMs: 60_000 });
    const { RigMachine: Machine, cpuClass } = await import('./hub-rig.ts');
    const machine = new Machine({ core: second, token, settle: () => clock.settle() });
    await machine.ask('hello', { machineId: 'm1', incarnation: null, machineClass: cpuClass, software: 'x' });
    await machine.lease();
    await clock.advanceBy(leaseTtlMs + 100);
    expect(await rig.row('j1')).toMatchObject({ state: 'waiting', attempts: 1 });
    await second.stop();
  });
});
