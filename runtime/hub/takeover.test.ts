import { afterEach, describe, expect, test } from 'vitest';
import { PeerWorld, type RigHub } from '#simulations/peer-world.ts';

const open: PeerWorld[] = [];
afterEach(async () => {
  for (const world of open.splice(0)) await world.close();
});

const singletonTtlMs = 6_000;
const roles = ['sweeper', 'recorder', 'reconciler'];

/** Two hubs; the first holds every role. */
async function pair(options: { linked: boolean }) {
  const world = await PeerWorld.open({ leaseTtlMs: 3_000, singletonTtlMs });
  open.push(world);
  const url = options.linked ? {} : { url: null };
  const holder = await world.hub('hub-a', url);
  await world.clock.advanceBy(20);
  const other = await world.hub('hub-b', url);
  if (options.linked) await world.linked();
  await world.clock.advanceBy(20);
  return { world, holder, other };
}

/** Tokens of the roles that this hub has taken, in order. */
function taken(world: PeerWorld, hub: RigHub) {
  return world.env.ring
    .entries()
    .filter(({ event, fields }) => event === 'role.taken' && fields['process'] === hub.process.name)
    .map(({ fields }) => `${fields['role']} ${fields['singletonToken']}`);
}

/** `job.…` events of a job, in the order of their numbers. */
async function story(world: PeerWorld, jobId: string) {
  return (await world.records.listEvents({ after: 0, limit: 1_000, jobId })).map((event) => event.type);
}

describe.each([{ linked: true }, { linked: false }])('roles of hubs that are linked: $linked', (options) => {
  test('a holder that is killed is followed within the time of a role and a third, under higher tokens', async () => {
    const { world, holder, other } = await pair(options);
    expect(taken(world, holder)).toEqual(roles.map((role) => `${role} 1`));
    expect(taken(world, other)).toEqual([]);
    holder.kill();
    await world.clock.advanceBy((singletonTtlMs * 4) / 3 + 100);
    expect(taken(world, other)).toEqual(roles.map((role) => `${role} 2`));
    await other.submit('j1');
    await world.clock.advanceBy(50);
    expect(await story(world, 'j1')).toEqual(['job.submitted']);
  });

  test('a lease that ends while nobody sweeps is ended by the next sweeper', async () => {
    const { world, holder, other } = await pair(options);
    await holder.submit('j1');
    const machine = await other.machine('m1');
    // Who is not linked looks for groups of other hubs now and then only.
    await world.until('the claim', async () => {
      await machine.beat();
      return (await machine.claim()).kind === 'leased';
    });
    holder.kill();
    await world.until(
      'the end of the lease',
      async () => (await world.records.getJob('j1'))?.attempts === 1,
      10_000,
    );
    expect(await world.records.getJob('j1')).toMatchObject({ state: 'waiting', runs: 1 });
  });

  test('a holder that stood still and goes on writes nothing: what it has under way is refused', async () => {
    const { world, holder, other } = await pair(options);
    const before = await world.records.highestSeq();
    // It stands in the middle of its work: the submit has poked its recorder, the replies lie before its door.
    const submitting = holder.submit('j1');
    holder.process.freeze();
    await world.clock.advanceBy(2 * singletonTtlMs);
    expect(taken(world, other)).toEqual(roles.map((role) => `${role} 2`));
    await other.submit('j2');
    await world.clock.advanceBy(50);
    const seen = await world.records.highestSeq();
    expect(seen).toBeGreaterThan(before);
    holder.process.thaw('io');
    await world.clock.advanceBy(50);
    await submitting;
    // Unlinked, the recorder finds what others commit when it looks by itself.
    await world.clock.advanceBy(options.linked ? 1_000 : 10_000);
    // Its own leases stood for less than the others': it gave the roles up, and took none back.
    expect(taken(world, holder)).toEqual(roles.map((role) => `${role} 1`));
    expect(await story(world, 'j1')).toEqual(['job.submitted']);
    expect(await story(world, 'j2')).toEqual(['job.submitted']);
    for (const name of roles) {
      const stale = { name, holder: 'hub-a', token: 1, untilMs: Number.MAX_SAFE_INTEGER };
      expect(await world.records.assignSeq({ limit: 10, lease: stale })).toEqual({ kind: 'staleSingleton' });
    }
  });
});

describe('roles that are given back', () => {
  test('a linked hub takes them at once, an unlinked one at its next try', async () => {
    for (const linked of [true, false]) {
      const { world, holder, other } = await pair({ linked });
      const stopping = holder.core.stop();
      await world.clock.advanceBy(50);
      expect(taken(world, other).length).toBe(linked ? 3 : 0);
      await world.clock.advanceBy(singletonTtlMs / 3);
      expect(taken(world, other)).toEqual(roles.map((role) => `${role} 2`));
      await stopping;
    }
  });

  test('a hub that stopped is neither listed nor dialled any more', async () => {
    const { world, holder, other } = await pair({ linked: true });
    const stopping = holder.core.stop();
    await world.clock.advanceBy(100);
    await stopping;
    expect(other.hub.peers.list()).toEqual([]);
    await world.clock.advanceBy(60_000);
    expect(world.network.connections()).toEqual([]);
    const [row] = await world.records
      .registerHub({
        hubId: 'observer',
        url: null,
        version: 'x',
        ttlMs: 1_000,
        broker: null,
        run: null,
      })
      .then((answer) => (answer.kind === 'registered' ? answer.hubs : []));
    expect(row?.hubId).toBe('hub-b');
  });
});
