import { describe, expect, test } from 'vitest';
import { brokerBirth } from '#protocol/broker.ts';
import { sleep } from '#protocol/env.ts';
import type { HubRow } from '#protocol/records.ts';
import { openSqliteRecords } from '#protocol/sqlite/records.ts';
import { PeerWorld } from '#simulations/peer-world.ts';
import { type SimEnv, simEnv } from '#simulations/sim-env.ts';
import { BrokerWatch, eldestHub, ensureSameBroker } from './same-broker.ts';

const row = (hubId: string, broker: string | null, startedAtMs: number): HubRow => ({
  hubId,
  run: 1,
  url: null,
  version: '0',
  broker,
  startedAtMs,
  untilMs: 10_000,
});

/** The Broker as a hub hears of it; it answers `now`, nothing where that is null. */
class Heard {
  now: string | null;
  birth: string | null = null;

  constructor(now: string | null) {
    this.now = now;
  }

  async refresh() {
    if (this.now === null) throw new Error('it does not answer');
    this.birth = this.now;
    return { identity: `run.${this.now}`, open: true };
  }
}

test('the eldest hub is the one that started first of those that tell a broker', () => {
  const hubs = [row('c', 'x', 5), row('b', 'y', 3), row('a', 'z', 3), row('before', null, 1)];
  expect(eldestHub(hubs)?.hubId).toBe('a');
  expect(eldestHub([row('before', null, 1)])).toBeNull();
});

describe('a hub that runs', () => {
  async function watching() {
    const env = simEnv({ seed: 'broker-watch' });
    const identity = new Heard('b');
    let changes = 0;
    const watch = new BrokerWatch({ env, identity, toldAfterMs: 10_000, changed: () => changes++ });
    identity.birth = 'b';
    watch.tell();
    return { env, identity, watch, changes: () => changes };
  }

  test('asks its broker where another hub tells another: a change is told at once, silence leaves it as it is', async () => {
    const { env, identity, watch, changes } = await watching();
    const note = async (other: string | null) => {
      watch.note([row('self', 'b', 100), row('other', other, 200)], 'self');
      await env.clock.settle();
      return changes();
    };
    identity.now = 'c';
    // Nobody differs: nothing is asked.
    expect(await note('b')).toBe(0);
    expect(await note(null)).toBe(0);
    expect(watch.tell()).toBe('b');
    expect(await note('c')).toBe(1);
    expect(watch.tell()).toBe('c');
    identity.now = null;
    expect(await note('d')).toBe(1);
    expect(watch.tell()).toBe('c');
  });

  test('reports an elder hub of another broker when that lasts, and never a younger one', async () => {
    const { env, watch } = await watching();
    const self = row('self', 'b', 100);
    const elder = [row('elder', 'c', 50), self, row('younger', 'd', 200)];
    watch.note(elder, 'self');
    await env.clock.advanceBy(9_999);
    watch.note(elder, 'self');
    expect(watch.fault()).toBeNull();
    await env.clock.advanceBy(1);
    expect(watch.fault()).toContain('hub elder, which shares these records, uses another Redis');
    watch.note([row('elder', 'b', 50), self, row('younger', 'd', 200)], 'self');
    expect(watch.fault()).toBeNull();
    watch.note([self, row('younger', 'd', 200)], 'self');
    await env.clock.advanceBy(60_000);
    expect(watch.fault()).toBeNull();
  });
});

describe('after a loss of all that the broker had', () => {
  test('hubs without any work are ready again, and one that starts is not refused', async () => {
    const world = await PeerWorld.open();
    try {
      const hubs = [await world.hub('hub-a'), await world.hub('hub-b')];
      await world.linked();
      await world.clock.advanceBy(60_000);
      const unready = () => Promise.all(hubs.map((hub) => hub.core.unready()));
      expect(await unready()).toEqual([[], []]);
      const births = () => hubs.map((hub) => hub.hub.identity.birth);
      const before = brokerBirth(world.server.identity);
      expect(births()).toEqual([before, before]);
      world.server.loseAll();
      const now = brokerBirth(world.server.identity);
      expect(now).not.toBe(before);
      const { records, env } = world;
      const starting = ensureSameBroker({
        hubId: 'hub-c',
        ttlMs: 15_000,
        env,
        records,
        identity: new Heard(now),
      });
      await world.clock.advanceBy(20_000);
      await expect(starting).resolves.toEqual(expect.any(Number));
      expect(births()).toEqual([now, now]);
      const told = (await records.listHubs()).map(({ hubId, broker }) => [hubId, broker]);
      expect(told).toEqual([
        ['hub-a', now],
        ['hub-b', now],
        ['hub-c', now],
      ]);
      await world.clock.advanceBy(60_000);
      expect(await unready()).toEqual([[], []]);
    } finally {
      await world.close();
    }
  });
});

describe('a hub that starts', () => {
  const ttlMs = 6_000;

  async function store() {
    const env = simEnv({ seed: 'same-broker' });
    const records = await openSqliteRecords({ path: ':memory:', clock: env.clock, rng: env.rng });
    const registered = async () => (await records.listHubs()).map(({ hubId }) => hubId);
    const check = (hubId: string, identity: Heard, over = records) =>
      ensureSameBroker({ hubId, ttlMs, env, records: over, identity }).then(
        (run) => (run === null ? 'unchecked' : 'same'),
        (error: Error) => error.message,
      );
    return { env, records, registered, check };
  }
  type Store = Awaited<ReturnType<typeof store>>;

  /** A hub that runs: it is renewed, every third of its time, with what it then says, until that is null. */
  async function running({ env, records }: Store, hubId: string, says: (renewal: number) => string | null) {
    const register = async (renewal: number, run: number | null) => {
      const broker = says(renewal);
      if (broker === null) return null;
      const answer = await records.registerHub({
        hubId,
        run,
        url: `http://${hubId}.sim`,
        version: '0',
        broker,
        ttlMs,
      });
      return answer.kind === 'registered' ? answer.run : null;
    };
    let run = await register(0, null);
    const renew = async () => {
      for (let renewal = 1; run !== null; renewal++) {
        await sleep(env.clock, ttlMs / 3);
        run = await register(renewal, run);
      }
    };
    void renew();
    await env.clock.advanceBy(1);
  }

  async function answerOf(env: SimEnv, checking: Promise<string>) {
    await env.clock.advanceBy(30_000);
    return await checking;
  }

  test('beside hubs of the same broker goes on, registered', async () => {
    const world = await store();
    await running(world, 'a', () => 'b');
    const checking = world.check('self', new Heard('b'));
    await world.env.clock.advanceBy(1);
    expect(await checking).toBe('same');
    expect(await world.registered()).toEqual(['a', 'self']);
  });

  test('with a broker that does not answer goes on unchecked', async () => {
    const world = await store();
    await running(world, 'a', () => 'c');
    expect(await answerOf(world.env, world.check('self', new Heard(null)))).toBe('unchecked');
    expect(await world.registered()).toEqual(['a']);
  });

  test('beside an elder hub of another broker that goes on is refused by its name, and leaves the list', async () => {
    const world = await store();
    await running(world, 'a', () => 'c');
    const checking = world.check('self', new Heard('b'));
    // One renewal may say what was known before a loss.
    await world.env.clock.advanceBy(ttlMs / 3 + 500);
    expect(await world.registered()).toEqual(['a', 'self']);
    expect(await answerOf(world.env, checking)).toMatch(/REDIS_URL: hub a, which shares these records, uses/);
    expect(await world.registered()).toEqual(['a']);
  });

  test('beside one that ends, or that hears of the loss one renewal late, goes on', async () => {
    const ends = await store();
    await running(ends, 'a', (renewal) => (renewal === 0 ? 'c' : null));
    expect(await answerOf(ends.env, ends.check('self', new Heard('b')))).toBe('same');
    const hears = await store();
    await running(hears, 'a', (renewal) => (renewal < 2 ? 'c' : 'b'));
    expect(await answerOf(hears.env, hears.check('self', new Heard('b')))).toBe('same');
  });

  test('that hears of the loss last goes on', async () => {
    const world = await store();
    await running(world, 'a', () => 'c');
    const identity = new Heard('b');
    const checking = world.check('self', identity);
    await world.env.clock.advanceBy(ttlMs / 3 + 500);
    identity.now = 'c';
    expect(await answerOf(world.env, checking)).toBe('same');
  });

  test('beside the eldest of its own broker is not stopped by a wrong one', async () => {
    const world = await store();
    await running(world, 'right', () => 'b');
    await running(world, 'wrong', () => 'c');
    const checking = world.check('self', new Heard('b'));
    await world.env.clock.advanceBy(1);
    expect(await checking).toBe('same');
  });

  test('together with one of another broker: the younger is refused, the elder goes on', async () => {
    const world = await store();
    const { env, records } = world;
    // It looks only when the other has registered, too.
    const listHubs = async () => {
      await sleep(env.clock, 10);
      return await records.listHubs();
    };
    const elder = world.check('z-elder', new Heard('b'), { ...records, listHubs });
    await env.clock.advanceBy(5);
    const younger = world.check('a-younger', new Heard('c'));
    await env.clock.advanceBy(6);
    expect(await world.registered()).toEqual(['a-younger', 'z-elder']);
    await env.clock.advanceBy(4_000);
    expect([await elder, await younger]).toEqual([
      'same',
      expect.stringContaining('REDIS_URL: hub z-elder, which shares these records'),
    ]);
    expect(await world.registered()).toEqual(['z-elder']);
  });

  test('as the eldest is refused where one that could not see it goes on', async () => {
    const world = await store();
    const { env, records } = world;
    // Its commit comes after the look of the other, which has another broker and started later.
    const listHubs = async () => {
      await sleep(env.clock, 10);
      return await records.listHubs();
    };
    const checking = world.check('self', new Heard('b'), { ...records, listHubs });
    await env.clock.advanceBy(5);
    await running(world, 'unseeing', () => 'c');
    expect(await answerOf(env, checking)).toContain('REDIS_URL: hub unseeing');
    expect(await world.registered()).toEqual(['unseeing']);
  });
});
