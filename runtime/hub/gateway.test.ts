import { describe, expect, test } from 'vitest';
import { simulationSpec } from '#actors/connectors/simulation/simulation-spec.ts';
import { frameLimitBytes } from '#protocol/link.ts';
import { simEnv } from '#simulations/sim-env.ts';
import { SimObjects } from '#simulations/sim-objects.ts';
import { cpuClass, hubRig, RigMachine } from './hub-rig.ts';

async function setup(config: object = {}) {
  const env = simEnv({ seed: 'gateway' });
  const rig = await hubRig({
    env,
    objects: new SimObjects({ clock: env.clock }),
    services: [simulationSpec],
    settle: () => env.clock.settle(),
    config: { leaseTtlMs: 3_000, ...config },
  });
  // The broker opens with the first reconcile.
  await env.clock.advanceBy(10);
  const { hub } = rig.core;
  const dial = (token: string | null) =>
    new RigMachine({ core: rig.core, token, settle: () => env.clock.settle() });
  const joinToken = (ttlMs = 60_000) => hub.tokens.join({ id: 'x', nowMs: env.clock.now(), ttlMs }).token;
  const hello = { machineId: 'm1', incarnation: null, machineClass: cpuClass, software: 'test' };
  return { env, clock: env.clock, rig, hub, dial, joinToken, hello };
}

const tokenOf = (machine: RigMachine) => {
  if (machine.welcome?.kind !== 'welcome') throw new Error('not welcome');
  return machine.welcome.machineToken;
};

describe('joining', () => {
  test.each([
    ['no token', null],
    ['a token that is none', 'secret'],
    ['a token of another store', 'emp1.eyJrIjoiam9pbiIsImV4cCI6OTk5OTk5OTk5OTk5OTksImlkIjoieCJ9.AAAA'],
    ['an endless token', 'x'.repeat(5_000)],
  ])('a link with %s is closed with 4401', async (_, token) => {
    const { dial } = await setup();
    expect(dial(token).closed).toMatchObject({ code: 4_401 });
  });

  test('a join token is good until it expires', async () => {
    const { clock, dial, joinToken } = await setup();
    const token = joinToken(1_000);
    expect(dial(token).closed).toBeNull();
    await clock.advanceBy(1_000);
    expect(dial(token).closed).toMatchObject({ code: 4_401, reason: expect.stringContaining('expired') });
  });

  test('a token changed in one place is not taken', async () => {
    const { dial, joinToken } = await setup();
    const token = joinToken();
    for (const at of [6, 20, token.length - 3]) {
      const changed = token.slice(0, at) + (token[at] === 'A' ? 'B' : 'A') + token.slice(at + 1);
      expect(dial(changed).closed).toMatchObject({ code: 4_401 });
    }
  });

  test('requests before hello are refused, a second hello too', async () => {
    const { dial, joinToken, hello } = await setup();
    const machine = dial(joinToken());
    await expect(machine.claim()).rejects.toThrow(/UNAUTHORIZED.*hello/);
    await machine.ask('hello', hello);
    await expect(machine.ask('hello', hello)).rejects.toThrow(/CONFLICT/);
  });

  test('a machine token speaks for its machine and incarnation only', async () => {
    const { clock, rig } = await setup();
    const token = tokenOf(await rig.join({ machineId: 'm1' }));
    await expect(rig.join({ machineId: 'm2', token })).rejects.toThrow(/FORBIDDEN.*m1/);
    await expect(rig.join({ machineId: 'm1', token, incarnation: 2 })).rejects.toThrow(
      /FORBIDDEN.*incarnation 1/,
    );
    await clock.advanceBy(1);
    expect((await rig.join({ machineId: 'm1', token, incarnation: 1 })).welcome).toMatchObject({
      incarnation: 1,
    });
  });

  test('a link that was refused as foreign is closed with 4403 after its answer', async () => {
    const { clock, rig, dial, hello } = await setup();
    const machine = dial(tokenOf(await rig.join({ machineId: 'm1' })));
    await expect(machine.ask('hello', { ...hello, machineId: 'm2' })).rejects.toThrow(/FORBIDDEN/);
    await clock.advanceBy(1);
    expect(machine.closed).toMatchObject({ code: 4_403 });
  });

  test('a newer incarnation takes over: the older is told, closed, refused by name, and its job runs again', async () => {
    const { clock, rig } = await setup();
    const older = await rig.join({ machineId: 'm1' });
    await rig.submit('j1');
    const lease = await older.lease();
    const newer = await rig.join({ machineId: 'm1' });
    expect(newer.welcome).toMatchObject({ kind: 'welcome', incarnation: 2 });
    expect(older.notices.at(-1)).toEqual({ type: 'superseded', body: {} });
    expect(await older.claim()).toEqual({ kind: 'superseded' });
    await expect(older.complete(lease)).rejects.toThrow(/LEASE_LOST/);
    await clock.advanceBy(10);
    expect(older.closed).toMatchObject({ code: 4_409 });
    const zombie = await rig.join({ machineId: 'm1', token: tokenOf(older), incarnation: 1 });
    expect(zombie.welcome).toEqual({ kind: 'superseded' });
    await clock.advanceBy(100);
    expect(await newer.lease()).toMatchObject({ jobId: 'j1', attempts: 1 });
  });

  test('a restarted machine whose token is not the newest is not let in anew', async () => {
    const { rig } = await setup();
    const first = await rig.join({ machineId: 'm1' });
    await rig.join({ machineId: 'm1' });
    expect((await rig.join({ machineId: 'm1', token: tokenOf(first) })).welcome).toEqual({
      kind: 'superseded',
    });
  });

  test('a second link of one incarnation takes the place of the first', async () => {
    const { rig } = await setup();
    const first = await rig.join({ machineId: 'm1' });
    const second = await rig.join({ machineId: 'm1', token: tokenOf(first), incarnation: 1 });
    expect(first.closed).toMatchObject({ code: 4_409 });
    expect(await second.claim()).toEqual({ kind: 'empty' });
  });
});

describe('hostile frames', () => {
  const v = 1;
  const claim = { requestId: 1, free: [], resident: [] };
  test.each([
    ['no JSON', '{"v":1,'],
    ['a number', '7'],
    ['an empty text', ''],
    ['another version', JSON.stringify({ v: 2, id: 1, type: 'claim', body: claim })],
    ['an answer nobody asked for', JSON.stringify({ v, re: 1, body: {} })],
    [
      'a text over the limit',
      JSON.stringify({ v, type: 'progress', body: { filler: 'x'.repeat(frameLimitBytes) } }),
    ],
    ['unknown envelope fields', JSON.stringify({ v, id: 1, type: 'claim', body: claim, admin: true })],
    [
      'a claim with a negative number of slots',
      JSON.stringify({ v, id: 1, type: 'claim', body: { ...claim, free: [{ service: 'a', slots: -1 }] } }),
    ],
    [
      'a job id that is a path',
      JSON.stringify({
        v,
        id: 1,
        type: 'exit',
        body: { jobId: '../x', token: '1', cause: { kind: 'release', reason: '' } },
      }),
    ],
    [
      'a token that is no number',
      JSON.stringify({ v, id: 1, type: 'sign', body: { what: 'inputs', jobId: 'j', token: '1e9' } }),
    ],
    ['a prototype for a type', JSON.stringify({ v, id: 1, type: '__proto__', body: {} })],
    ['a notice of wrong form', JSON.stringify({ v, type: 'progress', body: { items: [] } })],
  ])('%s is counted or refused, and the link goes on', async (_, text) => {
    const { rig, hub } = await setup();
    const machine = await rig.join({ machineId: 'm1' });
    machine.raw(text);
    const { framesMalformed, framesUnknown } = hub.counters;
    expect(framesMalformed + framesUnknown).toBe(1);
    expect(machine.closed).toBeNull();
    expect(await machine.claim()).toEqual({ kind: 'empty' });
  });

  test('a malformed request is answered with every wrong field', async () => {
    const { rig } = await setup();
    const machine = await rig.join({ machineId: 'm1' });
    const wrong = { requestId: 0, free: [], resident: [], colour: 1 } as never;
    await expect(machine.ask('claim', wrong)).rejects.toThrow(/FRAME_INVALID.*\/requestId.*\/colour/);
  });

  test('requests and notices of unknown types are skipped and counted', async () => {
    const { rig, hub } = await setup();
    const machine = await rig.join({ machineId: 'm1' });
    await expect(machine.ask('reboot' as never, {} as never)).rejects.toThrow(/FRAME_INVALID.*reboot/);
    await machine.notify('gossip', {});
    expect(hub.counters).toMatchObject({ framesUnknown: 2, framesMalformed: 0 });
  });

  test('more malformed frames than a minute allows close the link', async () => {
    const { clock, rig, hub } = await setup({ linkMalformedLimit: 5, leaseTtlMs: 30_000 });
    const machine = await rig.join({ machineId: 'm1' });
    for (let frame = 0; frame < 5; frame++) machine.raw('{');
    expect(machine.closed).toBeNull();
    await clock.advanceBy(12_000);
    machine.raw('{');
    expect(machine.closed).toBeNull();
    machine.raw('{');
    expect(machine.closed).toMatchObject({ code: 1_008 });
    expect(hub.counters.linksClosedByLimit).toBe(1);
  });

  test('more frames a second than allowed close the link', async () => {
    const { rig, dial, joinToken } = await setup({ linkFramesPerSecond: 10 });
    const machine = await rig.join({ machineId: 'm1' });
    for (let frame = 0; frame < 25; frame++) machine.raw(JSON.stringify({ v, type: 'gossip', body: {} }));
    expect(machine.closed).toMatchObject({ code: 1_008 });
    expect(dial(joinToken()).closed).toBeNull();
  });

  test('more requests at once than allowed are refused, not queued', async () => {
    const { rig } = await setup({ linkRequestsLimit: 2 });
    const machine = await rig.join({ machineId: 'm1' });
    const answers = await Promise.allSettled([machine.claim(), machine.claim(), machine.claim()]);
    expect(answers.map((each) => each.status)).toEqual(['fulfilled', 'fulfilled', 'rejected']);
    expect(answers[2]).toMatchObject({ reason: { code: 'INBOX_FULL', retryable: true } });
    expect(await machine.claim()).toEqual({ kind: 'empty' });
  });

  test('a machine that does not read is closed before its frames fill the hub', async () => {
    const { rig, hub } = await setup({ sendBufferLimitBytes: 65_536 });
    const machine = await rig.join({ machineId: 'm1' });
    machine.buffered = 65_537;
    await expect(machine.claim()).rejects.toThrow(/no answer/);
    expect(machine.closed).toMatchObject({ code: 1_013 });
    expect(hub.links.size).toBe(0);
  });

  test('more links than the hub holds are closed at once', async () => {
    const { rig, dial, joinToken } = await setup({ linksLimit: 2 });
    await rig.join({ machineId: 'm1' });
    const second = await rig.join({ machineId: 'm2' });
    expect(dial(joinToken()).closed).toMatchObject({ code: 1_013 });
    await second.vanish();
    expect(dial(joinToken()).closed).toBeNull();
  });
});

describe('notices', () => {
  test('progress of the own job is recorded, of a foreign one dropped', async () => {
    const { clock, rig } = await setup();
    const holder = await rig.join({ machineId: 'm1' });
    const other = await rig.join({ machineId: 'm2' });
    await rig.submit('j1');
    const { jobId, token } = await holder.lease();
    await other.notify('progress', { items: [{ jobId, token, fraction: 0.9, message: null }] });
    await holder.notify('progress', { items: [{ jobId, token, fraction: 0.25, message: null }] });
    await clock.advanceBy(500);
    expect((await rig.row('j1')).progress).toBe(0.25);
  });

  test('the last preview is kept; foreign ones and other than pictures are dropped', async () => {
    const { rig } = await setup();
    const holder = await rig.join({ machineId: 'm1' });
    const other = await rig.join({ machineId: 'm2' });
    await rig.submit('j1');
    const { jobId, token } = await holder.lease();
    const base64 = Buffer.from('picture').toString('base64');
    await other.notify('preview', { jobId, token, mime: 'image/png', base64 });
    await holder.notify('preview', { jobId, token, mime: 'text/html', base64 });
    expect(await rig.ports.records.getPreview('j1')).toBeNull();
    await holder.notify('preview', { jobId, token, mime: 'image/png', base64 });
    const kept = await rig.ports.records.getPreview('j1');
    expect(Buffer.from(kept?.bytes ?? []).toString()).toBe('picture');
  });

  test('residency follows the newest version of each entry', async () => {
    const { rig, hub } = await setup();
    const machine = await rig.join({ machineId: 'm1' });
    const entry = (modelId: string, version: number, state = 'resident') => ({
      modelId,
      version,
      state,
      bytes: 1,
      fraction: 1,
    });
    await machine.notify('residency', { full: true, entries: [entry('a', 3), entry('b', 1)] });
    await machine.notify('residency', {
      full: false,
      entries: [entry('a', 2, 'fetching'), entry('b', 2, 'gone'), entry('c', 1)],
    });
    const known = [...(hub.links.get('m1')?.residency.values() ?? [])];
    expect(known.map((each) => [each.modelId, each.state])).toEqual([
      ['a', 'resident'],
      ['c', 'resident'],
    ]);
  });

  test('incidents become events, at most as many as people can read', async () => {
    const { clock, rig } = await setup();
    const machine = await rig.join({ machineId: 'm1' });
    for (let count = 0; count < 100; count++) {
      await machine.notify('incident', { kind: 'actor.restarted', path: 'gpu/0', detail: 'x', jobId: null });
    }
    await clock.advanceBy(10);
    const events = await rig.ports.records.listEvents({ after: 0, limit: 500, types: ['machine.incident'] });
    expect(events).toHaveLength(60);
    expect(events[0]).toMatchObject({ machineId: 'm1', data: { incarnation: 1, kind: 'actor.restarted' } });
  });
});

describe('signing', () => {
  test('results are signed under the key of the lease, with their exact size and hash', async () => {
    const { rig } = await setup();
    const machine = await rig.join({ machineId: 'm1' });
    await rig.submit('j1');
    const { jobId, token } = await machine.lease();
    const files = [{ name: 'a.png', bytes: 3, sha256: 'a'.repeat(64), mime: 'image/png' }];
    const answer = await machine.ask('sign', { what: 'results', jobId, token, files });
    expect(answer).toMatchObject({
      kind: 'signed',
      files: [{ name: 'a.png', object: `results/j1/${token}/a.png`, bytes: 3 }],
    });
  });

  test('T1: of a job that has ended nothing is signed and no preview kept, whatever token is named', async () => {
    const { rig } = await setup();
    const holder = await rig.join({ machineId: 'm1' });
    const other = await rig.join({ machineId: 'm2' });
    await rig.submit('j1');
    const lease = await holder.lease();
    await holder.complete(lease);
    const base64 = Buffer.from('picture').toString('base64');
    const files = [{ name: 'a.png', bytes: 3, sha256: 'a'.repeat(64), mime: 'image/png' }];
    for (const token of [lease.token, '9000000000000000']) {
      const of = { jobId: 'j1', token };
      for (const body of [{ what: 'inputs', ...of } as const, { what: 'results', ...of, files } as const])
        expect(await other.ask('sign', body)).toMatchObject({
          kind: 'refused',
          error: { code: 'LEASE_LOST' },
        });
      await other.notify('preview', { ...of, mime: 'image/png', base64 });
    }
    expect(await rig.ports.records.getPreview('j1')).toBeNull();
  });

  test('a model has the sources of its manifest, and none at all is refused with what to do', async () => {
    const { rig, hub } = await setup();
    const machine = await rig.join({ machineId: 'm1' });
    const model = { service: 'simulation', kind: 'x', memoryMb: 1, licence: 'MIT' };
    const file = { name: 'w.bin', bytes: 3, sha256: 'b'.repeat(64) };
    await hub.models.put({
      ...model,
      id: 'there',
      files: [{ ...file, sources: ['https://models.example/w.bin'] }],
    });
    await hub.models.put({ ...model, id: 'nowhere', files: [{ ...file, sources: [] }] });
    expect(await machine.ask('sign', { what: 'model', modelId: 'there' })).toMatchObject({
      kind: 'signed',
      manifest: { id: 'there' },
      files: [{ urls: ['https://models.example/w.bin'], sha256: file.sha256 }],
    });
    expect(await machine.ask('sign', { what: 'model', modelId: 'nowhere' })).toMatchObject({
      kind: 'refused',
      error: {
        code: 'MODEL_UNAVAILABLE',
        message: expect.stringContaining('POST /v1/models/nowhere/files/w.bin'),
      },
    });
    expect(await machine.ask('sign', { what: 'model', modelId: 'unknown' })).toMatchObject({
      error: { code: 'UNKNOWN_MODEL' },
    });
  });
});

describe('leaving', () => {
  test('a claim behind a LEAVE that is under way gets nothing, and no job is held afterwards', async () => {
    const { clock, rig } = await setup();
    const machine = await rig.join({ machineId: 'm1' });
    await rig.submit('j1');
    const [left, claimed] = await Promise.allSettled([
      machine.ask('leave', { reason: 'drained' }),
      machine.claim(),
    ]);
    expect(left).toMatchObject({ status: 'fulfilled', value: { kind: 'ok' } });
    expect(claimed).toMatchObject({ status: 'fulfilled', value: { kind: 'cordoned' } });
    await clock.advanceBy(10);
    expect(await rig.ports.broker.inspect('j1')).toMatchObject({ state: 'waiting', holder: null });
  });
});

describe('stopping', () => {
  test('machines are told, links closed, and no lease is shortened', async () => {
    const { clock, rig } = await setup();
    await clock.advanceBy(4_000);
    const machine = await rig.join({ machineId: 'm1' });
    await rig.submit('j1');
    await machine.lease();
    await rig.core.stop();
    expect(machine.notices.map((notice) => notice.type)).toEqual(['closing']);
    expect(machine.closed).toMatchObject({ code: 1_001 });
    expect((await rig.ports.broker.lapsed({ limit: 10 })) as object).toMatchObject({
      earliestExpiryMs: clock.now() + 3_000,
    });
  });

  test('a young hub shortens no lease', async () => {
    const { clock, rig } = await setup();
    await clock.advanceBy(1_000);
    const machine = await rig.join({ machineId: 'm1' });
    await rig.submit('j1');
    await machine.lease();
    await machine.vanish();
    await clock.advanceBy(2_500);
    expect((await rig.row('j1')).state).toBe('leased');
  });
});
