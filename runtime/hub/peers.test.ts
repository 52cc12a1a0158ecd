import { afterEach, describe, expect, test } from 'vitest';
import type { HubConfigInput } from '#runtime/hub-config.ts';
import { PeerWorld } from '#simulations/peer-world.ts';
import { cancelJob } from './cancel.ts';
import { cordonMachine, drainMachine, listMachines } from './machines.ts';

const open: PeerWorld[] = [];
afterEach(async () => {
  for (const world of open.splice(0)) await world.close();
});

async function setup(config: HubConfigInput = {}) {
  const world = await PeerWorld.open(config);
  open.push(world);
  return world;
}

/** Two hubs that are linked, and a machine at the second. */
async function pair(config: HubConfigInput = {}) {
  const world = await setup(config);
  const a = await world.hub('hub-a');
  const b = await world.hub('hub-b');
  await world.linked();
  const machine = await b.machine('m1');
  await world.clock.advanceBy(20);
  return { world, a, b, machine };
}

const types = (machine: { notices: { type: string }[] }) => machine.notices.map((notice) => notice.type);

describe('hubs on one store', () => {
  test('each finds all others and holds one link to each', async () => {
    const world = await setup();
    for (const id of ['hub-b', 'hub-c', 'hub-a']) await world.hub(id);
    await world.linked();
    expect(world.hubs.map((hub) => hub.links().sort())).toEqual([
      ['hub-a', 'hub-c'],
      ['hub-a', 'hub-b'],
      ['hub-b', 'hub-c'],
    ]);
    await world.clock.advanceBy(60_000);
    expect(world.network.connections()).toHaveLength(3);
  });

  test('a list names as linked what is linked to any hub, with the jobs that run there', async () => {
    const { world, a, machine } = await pair();
    await a.submit('j1');
    const lease = await machine.lease();
    await world.until(
      'the claim in Records',
      async () => (await world.records.getJob('j1'))?.state === 'leased',
    );
    expect(await listMachines(a.hub, { all: false })).toMatchObject([
      { machineId: 'm1', linked: true, running: [{ jobId: 'j1', token: lease.token }] },
    ]);
    const heardAtMs = world.clock.now();
    await machine.beat({ running: [lease], slots: 0 });
    await world.clock.advanceBy(7_000);
    await machine.vanish();
    await world.clock.advanceBy(20);
    // Killed: its job is its own until the lease ends, and the hub that heard it last has told when.
    expect(await listMachines(a.hub, { all: false })).toMatchObject([
      {
        machineId: 'm1',
        state: 'joined',
        linked: false,
        seenBy: 'records',
        running: [{ jobId: 'j1', token: lease.token }],
        lastSeenAtMs: heardAtMs,
      },
    ]);
  });

  test('a hub that starts later learns of the machines that are linked already', async () => {
    const { world, machine } = await pair();
    const c = await world.hub('hub-c');
    await world.linked();
    await world.clock.advanceBy(20);
    expect(await listMachines(c.hub, { all: false })).toMatchObject([{ machineId: 'm1', linked: true }]);
    expect(machine.closed).toBeNull();
  });
});

describe('a hub whose wall clock is wrong', () => {
  test.each([-60_000, 60_000])(
    'by %d ms gives work free again one lease time after a loss, by the clock of the Broker',
    async (byMs) => {
      const world = await setup({ leaseTtlMs: 12_000 });
      const hub = await world.hub('hub-a');
      const machine = await hub.machine('m1');
      hub.process.skewWall(byMs);
      await hub.submit('j1');
      world.server.restart();
      expect(await machine.beat()).toMatchObject({ kind: 'ok', work: false });
      await machine.live(world.clock, { forMs: 11_000, running: [] });
      expect(await machine.claim()).toEqual({ kind: 'empty' });
      machine.notices.length = 0;
      await machine.live(world.clock, { forMs: 1_500, running: [] });
      expect(await machine.lease()).toMatchObject({ jobId: 'j1' });
    },
  );
});

describe('what crosses from hub to hub', () => {
  test('a job that is submitted at one wakes the idle machine of another within moments', async () => {
    const { world, a, b, machine } = await pair();
    await a.submit('first');
    await machine.complete(await machine.lease());
    expect(await machine.claim()).toEqual({ kind: 'empty' });
    machine.notices.length = 0;
    await a.submit('j1');
    await world.clock.advanceBy(20);
    expect(types(machine)).toEqual(['wake']);
    expect([a.hub.counters.wakesToPeers, b.hub.counters.wakesSent]).toEqual([1, 1]);
    expect(await machine.lease()).toMatchObject({ jobId: 'j1' });
  });

  test('a job of a requirement that nobody has seen wakes a machine of another hub too', async () => {
    const { world, a, machine } = await pair();
    await machine.beat();
    machine.notices.length = 0;
    await a.submit('j1', { requirements: { ramMb: 1_024 } });
    await world.clock.advanceBy(20);
    expect(types(machine)).toEqual(['wake']);
    expect(await machine.lease()).toMatchObject({ jobId: 'j1' });
  });

  test('a new requirement is known to other hubs at once, also where a machine here takes its first job', async () => {
    const { world, a, b, machine } = await pair();
    const own = await a.machine('m2');
    await own.beat();
    await machine.beat();
    for (const each of [machine, own]) each.notices.length = 0;
    await a.submit('j1', { requirements: { ramMb: 1_024 } });
    await world.clock.advanceBy(20);
    expect(types(own)).toEqual(['wake']);
    expect(await own.lease()).toMatchObject({ jobId: 'j1' });
    // It was told, asked in vain, and can be woken for this requirement from now on.
    expect(types(machine)).toEqual(['wake']);
    expect(b.hub.groups.servable(b.hub.links.all()[0]!)).toHaveLength(1);
    expect(await machine.claim()).toEqual({ kind: 'empty' });
    machine.notices.length = 0;
    await a.submit('j2', { requirements: { ramMb: 1_024 } });
    await world.clock.advanceBy(20);
    expect(types(machine)).toEqual(['wake']);
  });

  test('a wake for a machine that may not take work goes on to the next, wherever that is', async () => {
    const { world, a, b, machine } = await pair();
    const other = await a.machine('m2');
    await a.submit('first');
    await machine.complete(await machine.lease());
    expect(await machine.claim()).toEqual({ kind: 'empty' });
    expect(await other.claim()).toEqual({ kind: 'empty' });
    // As if the operator's word had reached the hub of the machine, and the Broker not yet.
    const link = b.hub.links.get('m1');
    if (link === null) throw new Error('m1 has no link');
    link.cordoned = true;
    for (const each of [machine, other]) each.notices.length = 0;
    await b.submit('j1');
    await a.submit('j2');
    await world.clock.advanceBy(50);
    expect(types(machine)).not.toContain('wake');
    expect(types(other)).toContain('wake');
  });

  test('a cancel through one stops the run on a machine of another at once', async () => {
    const { world, a, machine } = await pair();
    await a.submit('j1');
    await machine.lease();
    const cancelling = cancelJob(a.hub, 'j1', 'client');
    await world.clock.advanceBy(20);
    expect(await cancelling).toMatchObject({ state: 'requested' });
    expect(machine.notices.at(-1)).toEqual({
      type: 'cancel',
      body: { jobId: 'j1', reason: 'cancelled by request' },
    });
  });

  test('cordon, uncordon and drain reach a machine of another hub, and its claims are refused there', async () => {
    const { world, a, b, machine } = await pair();
    await a.submit('j1');
    const ask = async (verb: Promise<unknown>) => {
      await world.clock.advanceBy(20);
      await verb;
      return machine.notices.at(-1);
    };
    expect(await ask(cordonMachine(a.hub, 'm1', true))).toEqual({ type: 'cordon', body: { cordoned: true } });
    expect(b.hub.links.get('m1')).toMatchObject({ cordoned: true });
    expect(await machine.claim()).toEqual({ kind: 'cordoned' });
    expect(await ask(cordonMachine(a.hub, 'm1', false))).toEqual({
      type: 'cordon',
      body: { cordoned: false },
    });
    expect(await machine.lease()).toMatchObject({ jobId: 'j1' });
    expect(await ask(drainMachine(a.hub, 'm1', { deadlineMs: 77, reason: 'night' }))).toEqual({
      type: 'drain',
      body: { deadlineMs: 77, reason: 'night' },
    });
    // Once: a second one with the default time would shorten what the operator gave.
    await machine.beat({ slots: 0 });
    expect(types(machine).filter((type) => type === 'drain')).toHaveLength(1);
  });

  test('who follows events at a hub without the recorder sees them as soon as they are numbered', async () => {
    const { world, a, b } = await pair();
    const recorder = [a, b].find((hub) => hub.hub.peers.list()[0]?.roles.includes('recorder') === false);
    const follower = recorder === a ? b : a;
    if (recorder === undefined) throw new Error('nobody records');
    const after = follower.hub.events.highest;
    for (const from of [recorder, follower]) {
      const before = follower.hub.events.highest;
      await from.submit(`job-of-${from.hub.hubId}`);
      await world.clock.advanceBy(30);
      expect(follower.hub.events.highest).toBeGreaterThan(before);
    }
    const { events } = await follower.hub.events.since({ after, filter: {}, limit: 100 });
    expect(events.filter((event) => event.type === 'job.submitted')).toHaveLength(2);
  });

  test('a newer incarnation at one ends the older link at another at once', async () => {
    const { world, a, machine } = await pair();
    const newer = await a.machine('m1');
    await world.clock.advanceBy(20);
    expect(types(machine)).toContain('superseded');
    expect(machine.closed).toMatchObject({ code: 4_409 });
    expect(newer.closed).toBeNull();
  });

  test('the same incarnation that comes back through another hub keeps its jobs, and its old link is closed', async () => {
    const { world, a, b, machine } = await pair();
    if (machine.welcome?.kind !== 'welcome') throw new Error('not welcome');
    await a.submit('j1');
    const lease = await machine.lease();
    const back = await a.machine('m1', { token: machine.welcome.machineToken, incarnation: 1 });
    await world.clock.advanceBy(20);
    expect(machine.closed).toMatchObject({ code: 1_001 });
    expect(b.hub.links.get('m1')).toBeNull();
    await back.beat({ running: [lease], slots: 0 });
    expect(await back.complete(lease)).toMatchObject({ kind: 'committed' });
  });

  test('a stale word of another hub does not close the link to which the machine came back', async () => {
    const { world, a, machine } = await pair();
    if (machine.welcome?.kind !== 'welcome') throw new Error('not welcome');
    const { machineToken: token } = machine.welcome;
    const [link] = world.network.connections();
    // What the hubs tell each other is held up while the machine goes from b to a and back.
    link?.set({ up: 'held', down: 'held' });
    const there = await a.machine('m1', { token, incarnation: 1 });
    const b = world.hubs[1];
    const back = await b?.machine('m1', { token, incarnation: 1 });
    link?.set({ up: 'flowing', down: 'flowing' });
    await world.clock.advanceBy(50);
    expect(back?.closed).toBeNull();
    expect(there.closed).not.toBeNull();
  });
});

describe('hubs that cannot hear each other', () => {
  const cut = (world: PeerWorld) => {
    for (const link of world.network.connections()) link.set({ up: 'vanishing', down: 'vanishing' });
  };

  test('a half-open link is given up when nothing was heard for its time, and dialled again', async () => {
    const { world, a, b } = await pair();
    cut(world);
    await world.clock.advanceBy(5_000);
    expect([a.links(), b.links()]).toEqual([['hub-b'], ['hub-a']]);
    const [old] = world.network.connections();
    await world.until('another link', () => {
      const now = world.network.connections().filter((each) => each !== old && !each.lossy);
      return now.length === 1 && a.links().length === 1 && b.links().length === 1;
    });
    expect(await listMachines(a.hub, { all: false })).toMatchObject([{ machineId: 'm1', linked: true }]);
  });

  test('work, cancels and flags arrive all the same, with the next beat or refresh', async () => {
    const world = await setup({ leaseTtlMs: 3_000 });
    const a = await world.hub('hub-a', { url: null });
    const b = await world.hub('hub-b', { url: null });
    await world.clock.advanceBy(20_000);
    expect([a.links(), b.links()]).toEqual([[], []]);
    const machine = await b.machine('m1');
    await a.submit('j1');
    expect(await machine.beat()).toMatchObject({ kind: 'ok', work: true });
    const lease = await machine.lease();
    const cancelling = cancelJob(a.hub, 'j1', 'client');
    await world.clock.advanceBy(20);
    expect(await cancelling).toMatchObject({ state: 'requested' });
    expect(await machine.beat({ running: [lease], slots: 0 })).toMatchObject({ cancel: ['j1'] });
    await cordonMachine(a.hub, 'm1', true);
    for (let beats = 0; beats < 8; beats++) {
      await machine.beat({ running: [lease], slots: 0 });
      await world.clock.advanceBy(500);
    }
    expect(machine.notices.at(-1)).toEqual({ type: 'cordon', body: { cordoned: true } });
  });

  test('one direction is enough: a hub that is reached nowhere dials the others itself', async () => {
    const world = await setup();
    const a = await world.hub('hub-a');
    const b = await world.hub('hub-b', { url: null });
    await world.linked();
    expect([a.links(), b.links()]).toEqual([['hub-b'], ['hub-a']]);
  });

  test('an address at which nobody or another hub answers is tried again ever more seldom, and harms nobody', async () => {
    const world = await setup();
    const a = await world.hub('hub-a');
    await world.hub('hub-b', { url: 'http://hub-a.sim' });
    await world.hub('hub-c', { url: 'http://nowhere.sim' });
    // Under the address of b answers a itself.
    a.listen('ws://hub-a.sim/v1/peer');
    await world.clock.advanceBy(300_000);
    const refused = world.env.ring.entries().filter((entry) => entry.event === 'peer.refused');
    expect(refused.length).toBeLessThan(60);
    await a.submit('j1');
    expect((await world.records.getJob('j1'))?.state).toBe('waiting');
  });
});
