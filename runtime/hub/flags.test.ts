import { afterEach, describe, expect, test } from 'vitest';
import { PeerWorld, RawPeer } from '#simulations/peer-world.ts';
import { cordonMachine, drainMachine } from './machines.ts';

const open: PeerWorld[] = [];
afterEach(async () => {
  for (const world of open.splice(0)) await world.close();
});

const leaseTtlMs = 6_000;
const ref = { machineId: 'm1', incarnation: 1 };

/** A hub with one machine, and the link of another hub that sends what the test wants. */
async function setup() {
  const world = await PeerWorld.open({ leaseTtlMs });
  open.push(world);
  const hub = await world.hub('hub-a');
  await world.clock.advanceBy(20);
  const token = hub.hub.tokens.hub({ hubId: 'hub-x', run: 7 }, 'hub-a', world.clock.now());
  const other = new RawPeer(world, { url: 'ws://hub-a.sim/v1/peer', token });
  await world.clock.advanceBy(20);
  other.send('hello', { hubId: 'hub-x', run: 7, software: 'test', roles: [] });
  const machine = await hub.machine('m1');
  const told = () =>
    machine.notices.filter(({ type }) => type === 'cordon').map(({ body }) => body['cordoned']);
  /** What the other hub does for an operator, of whose two frames only the first arrives. */
  const halfTold = async (flags: { cordoned: boolean; draining: boolean }) => {
    await world.records.setMachineFlags({ machineId: 'm1', ...flags });
    other.send('flags', { machine: ref, ...flags });
    await world.clock.advanceBy(20);
  };
  const beats = async (count: number) => {
    for (let beat = 0; beat < count; beat++) {
      await machine.beat();
      await world.clock.advanceBy(leaseTtlMs / 6);
    }
  };
  return { world, hub, machine, told, halfTold, beats };
}

describe('a cordon of which the machine was not told', () => {
  test('an uncordon that another hub began to tell is told by the next beat', async () => {
    const { hub, machine, told, halfTold, beats } = await setup();
    await cordonMachine(hub.hub, 'm1', true);
    expect(told()).toEqual([true]);
    await halfTold({ cordoned: false, draining: false });
    expect(told()).toEqual([true]);
    await beats(1);
    expect(told()).toEqual([true, false]);
    expect(await machine.claim()).toEqual({ kind: 'empty' });
    await beats(12);
    expect(told()).toEqual([true, false]);
  });

  test('a cordon that another hub began to tell is told by the next beat', async () => {
    const { told, halfTold, beats } = await setup();
    await halfTold({ cordoned: true, draining: false });
    await beats(12);
    expect(told()).toEqual([true]);
  });

  test('a machine that was refused a claim is told when it may claim again', async () => {
    const { hub, machine, told, halfTold, beats } = await setup();
    await halfTold({ cordoned: true, draining: false });
    expect(await machine.claim()).toEqual({ kind: 'cordoned' });
    await halfTold({ cordoned: false, draining: false });
    await beats(1);
    expect(told()).toEqual([false]);
    expect(hub.hub.links.get('m1')).toMatchObject({ cordoned: false, cordonTold: false });
  });

  test('a machine that joined cordoned is told of the end alone', async () => {
    const { hub, halfTold, machine } = await setup();
    await cordonMachine(hub.hub, 'm1', true);
    const again = await hub.machine('m1', {
      token: machine.welcome?.kind === 'welcome' ? machine.welcome.machineToken : '',
      incarnation: 1,
    });
    expect(again.welcome).toMatchObject({ kind: 'welcome', cordoned: true });
    await again.beat();
    expect(again.notices.map(({ type }) => type)).not.toContain('cordon');
    await halfTold({ cordoned: false, draining: false });
    await again.beat();
    expect(again.notices.at(-1)).toEqual({ type: 'cordon', body: { cordoned: false } });
  });

  test('a drain does not open a machine, its end does', async () => {
    const { hub, machine, told, halfTold, beats } = await setup();
    await drainMachine(hub.hub, 'm1', {});
    expect(await machine.claim()).toEqual({ kind: 'cordoned' });
    await beats(12);
    expect(told()).toEqual([]);
    await halfTold({ cordoned: false, draining: false });
    await beats(1);
    expect(told()).toEqual([false]);
  });
});
