import { afterEach, describe, expect, test } from 'vitest';
import { encodeHubFrame } from '#protocol/hub-link.ts';
import { PeerWorld, RawPeer, type RigHub } from '#simulations/peer-world.ts';

const open: PeerWorld[] = [];
afterEach(async () => {
  for (const world of open.splice(0)) await world.close();
});

const url = 'ws://hub-a.sim/v1/peer';

async function setup() {
  const world = await PeerWorld.open();
  open.push(world);
  const hub = await world.hub('hub-a');
  await world.clock.advanceBy(20);
  return { world, hub };
}

/** A stranger with a good token of `hub-x`, unless another is given. */
async function dial(world: PeerWorld, hub: RigHub, given?: string): Promise<RawPeer> {
  const token = given ?? hub.hub.tokens.hub({ hubId: 'hub-x', run: 7 }, 'hub-a', world.clock.now());
  const peer = new RawPeer(world, { url, token });
  await world.clock.advanceBy(20);
  return peer;
}

const hello = { hubId: 'hub-x', run: 7, software: 'test', roles: [] };

describe('a dial is refused', () => {
  test.each<[string, number, (hub: RigHub, nowMs: number) => string]>([
    ['without a token', 4_401, () => ''],
    ['with a token of no store', 4_401, () => 'emp1.e30.AAAA'],
    [
      'with the token of a machine',
      4_401,
      (hub, nowMs) => hub.hub.tokens.machine({ machineId: 'm1', incarnation: 1 }, nowMs),
    ],
    [
      'with a join token',
      4_401,
      (hub, nowMs) => hub.hub.tokens.join({ id: 'x', nowMs, ttlMs: 60_000 }).token,
    ],
    [
      'with a token for another hub',
      4_401,
      (hub, nowMs) => hub.hub.tokens.hub({ hubId: 'hub-x', run: 7 }, 'hub-b', nowMs),
    ],
    [
      'with a token that has expired',
      4_401,
      (hub, nowMs) => hub.hub.tokens.hub({ hubId: 'hub-x', run: 7 }, 'hub-a', nowMs - 60_001),
    ],
    [
      'in the name of the very hub',
      4_409,
      (hub, nowMs) => hub.hub.tokens.hub({ hubId: 'hub-a', run: 1 }, 'hub-a', nowMs),
    ],
  ])('%s', async (_, code, token) => {
    const { world, hub } = await setup();
    const peer = await dial(world, hub, token(hub, world.clock.now()));
    expect(peer.closed).toMatchObject({ code });
    expect(peer.frames).toEqual([]);
    expect(hub.links()).toEqual([]);
  });

  test('by a hub that has not registered, or is stopping', async () => {
    const world = await PeerWorld.open();
    open.push(world);
    const silent = await world.hub('hub-s', { url: null });
    const hub = await world.hub('hub-a');
    await world.clock.advanceBy(20);
    hub.listen('ws://x.sim/v1/peer');
    const stopping = hub.core.stop();
    const peer = await dial(world, silent);
    expect(peer.closed).toMatchObject({ code: 1_001 });
    await world.clock.advanceBy(10_000);
    await stopping;
  });

  test('a token of a hub opens no link of a machine', async () => {
    const { world, hub } = await setup();
    const token = hub.hub.tokens.hub({ hubId: 'hub-x', run: 7 }, 'hub-a', world.clock.now());
    await expect(hub.machine('m1', { token })).rejects.toThrow('no answer');
  });
});

describe('a link ends', () => {
  test('when the other side is not the hub of its token', async () => {
    const { world, hub } = await setup();
    for (const other of [{ hubId: 'hub-y' }, { run: 8 }]) {
      const peer = await dial(world, hub);
      peer.send('hello', { ...hello, ...other });
      await world.clock.advanceBy(20);
      expect(peer.closed).toMatchObject({
        code: 4_403,
        reason: expect.stringContaining('expected hub hub-x (run 7)'),
      });
    }
    expect(hub.links()).toEqual([]);
  });

  test('when hello does not come, though other frames do', async () => {
    const { world, hub } = await setup();
    const peer = await dial(world, hub);
    for (let passed = 0; passed < 9_000; passed += 1_000) {
      peer.send('alive', {});
      await world.clock.advanceBy(1_000);
    }
    expect(peer.closed).toBeNull();
    await world.clock.advanceBy(1_100);
    expect(peer.closed).toMatchObject({ code: 4_000 });
    expect(hub.hub.counters.peerFramesMalformed).toBe(9);
  });

  test('when nothing is heard for the time of a hub', async () => {
    const { world, hub } = await setup();
    const peer = await dial(world, hub);
    peer.send('hello', hello);
    await world.clock.advanceBy(14_900);
    expect(peer.closed).toBeNull();
    await world.clock.advanceBy(200);
    expect(peer.closed).toMatchObject({ code: 4_000 });
    // It was kept posted meanwhile, so that it could tell.
    expect(peer.frames.filter((frame) => frame.type === 'alive').length).toBeGreaterThan(1);
  });

  test('after a score of malformed frames within a minute, not before', async () => {
    const { world, hub } = await setup();
    const peer = await dial(world, hub);
    peer.send('hello', hello);
    const junk = ['nonsense', '{}', '{"v":1,"type":"wake","body":{}}', encodeHubFrame('hello', hello)];
    for (let sent = 0; sent < 20; sent++) peer.raw(junk[sent % junk.length] ?? '');
    await world.clock.advanceBy(20);
    expect(peer.closed).toBeNull();
    peer.raw('one too many');
    await world.clock.advanceBy(20);
    expect(peer.closed).toMatchObject({ code: 1_008 });
    expect(hub.hub.counters.peerFramesMalformed).toBe(21);
  });

  test('in a flood, and the hub serves on', async () => {
    const { world, hub } = await setup();
    const peer = await dial(world, hub);
    peer.send('hello', hello);
    for (let sent = 0; sent < 10_500; sent++) peer.send('recorded', { highestSeq: 1 });
    await world.clock.advanceBy(50);
    expect(peer.closed).toMatchObject({ code: 1_008, reason: expect.stringContaining('frames per second') });
    await hub.submit('j1');
    expect((await world.records.getJob('j1'))?.state).toBe('waiting');
  });

  test('when the other hub does not read, and what it misses it learns on its next link', async () => {
    const { world, hub } = await setup();
    const stranger = await dial(world, hub);
    stranger.send('hello', hello);
    await world.clock.advanceBy(20);
    const [link] = world.network.connections();
    link?.set({ down: 'held' });
    const group = 'g0123456789abcdef';
    const machines = await hub.machine('m1');
    for (let sent = 0; sent < 60_000 && hub.links().length > 0; sent++)
      hub.hub.peers.joined({ machineId: `m${sent}${group}`, incarnation: 1 });
    expect(hub.links()).toEqual([]);
    const again = await dial(world, hub);
    again.send('hello', hello);
    await world.clock.advanceBy(20);
    expect(again.frames.find((frame) => frame.type === 'linked')?.body).toEqual({
      machines: [{ machineId: 'm1', incarnation: 1 }],
    });
    expect(machines.closed).toBeNull();
  });

  test('frames of a later version are passed over', async () => {
    const { world, hub } = await setup();
    const peer = await dial(world, hub);
    peer.raw(JSON.stringify({ v: 2, type: 'hello', body: { ...hello, colour: 'blue' } }));
    for (let sent = 0; sent < 100; sent++) peer.raw(JSON.stringify({ v: 2, type: 'digest', body: {} }));
    await world.clock.advanceBy(20);
    expect(peer.closed).toBeNull();
    expect(hub.hub.counters.peerFramesMalformed).toBe(0);
  });
});

describe('what a peer says of others', () => {
  test('a wake for a machine that nobody has goes to the next that the Broker names, and never round', async () => {
    const { world, hub } = await setup();
    const peer = await dial(world, hub);
    peer.send('hello', hello);
    const ghost = { machineId: 'ghost', incarnation: 1 };
    // It names the machine as its own and sends wakes for it: nothing comes back to it.
    peer.send('linked', { machines: [ghost] });
    peer.send('wake', { machine: ghost, groups: [], hops: 8 });
    await world.clock.advanceBy(50);
    expect(peer.frames.map((frame) => frame.type)).not.toContain('wake');
    expect(hub.hub.counters.wakesPassedOn).toBe(1);
    expect(hub.hub.counters.wakesToPeers).toBe(0);
  });

  test('notices for machines that are not linked here, and pokes for roles that are not held, change nothing', async () => {
    const { world, hub } = await setup();
    const peer = await dial(world, hub);
    peer.send('hello', hello);
    const machine = { machineId: 'ghost', incarnation: 1 };
    peer.send('tell', { machine, notice: 'drop', body: { jobId: 'j1' } });
    peer.send('flags', { machine, cordoned: true, draining: true });
    peer.send('unlinked', { machines: [machine] });
    peer.send('roles', { held: ['sweeper', 'recorder'] });
    for (const role of ['recorder', 'reconciler'] as const) peer.send('poke', { role, atMs: null });
    peer.send('poke', { role: 'sweeper', atMs: world.clock.now() - 5_000 });
    peer.send('work', { group: 'g0123456789abcdef' });
    await world.clock.advanceBy(50);
    expect(peer.closed).toBeNull();
    expect(world.env.ring.entries().filter((entry) => entry.level === 'error')).toEqual([]);
  });

  test('of an older incarnation it is not believed', async () => {
    const { world, hub } = await setup();
    await hub.machine('m1');
    const machine = await hub.machine('m1');
    const peer = await dial(world, hub);
    peer.send('hello', hello);
    peer.send('linked', { machines: [{ machineId: 'm1', incarnation: 1 }] });
    await world.clock.advanceBy(50);
    expect(machine.closed).toBeNull();
  });
});

describe('one id, several processes', () => {
  test('a new process under the id of a running hub takes it; the older is told, is not ready, and its machines stay', async () => {
    const { world, hub: older } = await setup();
    const b = await world.hub('hub-b');
    await world.linked();
    const machine = await older.machine('m1');
    const newer = await world.hub('hub-a');
    await world.until('the link to the newer process', () => newer.links().includes('hub-b'));
    await world.until('word to the older', async () => (await older.core.unready()).length > 0);
    expect(await older.core.unready()).toEqual([
      expect.stringContaining('another process runs as hub hub-a'),
    ]);
    expect(older.links()).toEqual([]);
    expect(b.links()).toEqual(['hub-a']);
    await b.submit('j1');
    await world.until('the job at a machine of the older', async () => {
      await machine.beat();
      return (await machine.claim()).kind === 'leased';
    });
    await newer.core.stop();
    await world.until('the way back', async () => (await older.core.unready()).length === 0);
    await world.until('a link of the older', () => older.links().includes('hub-b'));
  });

  test('dials that cross leave one link, the same for both sides', async () => {
    const world = await PeerWorld.open();
    open.push(world);
    // Both register before either is told of the other, so that both dial.
    const [a, b] = [await world.hub('hub-a'), await world.hub('hub-b')];
    a.core.announce('http://hub-a.sim');
    b.core.announce('http://hub-b.sim');
    await world.linked();
    await world.clock.advanceBy(10_000);
    expect(world.network.connections()).toHaveLength(1);
    expect([a.links(), b.links()]).toEqual([['hub-b'], ['hub-a']]);
  });

  test('a link that only one side believes in is replaced by the dial of the other', async () => {
    const world = await PeerWorld.open();
    open.push(world);
    const [a, b] = [await world.hub('hub-a'), await world.hub('hub-b')];
    await world.linked();
    await world.clock.advanceBy(12_000);
    const [link] = world.network.connections();
    // Nothing reaches hub-a any more; hub-b is told that the link is gone.
    link?.set({ up: 'vanishing', down: 'vanishing' });
    const dialled = link?.dialer.process.name.startsWith('hub-b') ? link.dialer : link?.listener;
    dialled?.ended({ code: 1_006, reason: 'reset' });
    await world.until('a new link', () => b.links().includes('hub-a'), 9_000);
    expect(a.links()).toEqual(['hub-b']);
    await world.clock.advanceBy(60_000);
    expect([a.links(), b.links()]).toEqual([['hub-b'], ['hub-a']]);
  });
});
