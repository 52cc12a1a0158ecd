import { describe, expect, test } from 'vitest';
import type { HubRow } from '#protocol/records.ts';
import { simEnv } from '#simulations/sim-env.ts';
import { BrokerWatch, ensureSameBroker, hubsElsewhere } from './same-broker.ts';

const row = (hubId: string, broker: string | null, untilMs = 10_000): HubRow => ({
  hubId,
  run: 1,
  url: null,
  version: '0',
  broker,
  startedAtMs: 0,
  untilMs,
});

test('who tells no broker, and this hub itself, use no other', () => {
  const hubs = [row('self', 'old'), row('before', null), row('same', 'b'), row('other', 'c')];
  expect(hubsElsewhere(hubs, { hubId: 'self', broker: 'b' }).map(({ hubId }) => hubId)).toEqual(['other']);
  expect(hubsElsewhere(hubs, { hubId: 'self', broker: null })).toEqual([]);
});

test('a hub that runs tells of another that uses another broker when that lasts', async () => {
  const env = simEnv({ seed: 'broker-watch' });
  const watch = new BrokerWatch({ env, toldAfterMs: 10_000 });
  const self = { hubId: 'self', broker: 'b' };
  watch.note([row('a', 'c')], self);
  await env.clock.advanceBy(9_999);
  watch.note([row('a', 'c')], self);
  expect(watch.fault()).toBeNull();
  await env.clock.advanceBy(1);
  expect(watch.fault()).toContain('hub a, which shares these records, uses another Redis');
  watch.note([row('a', 'b')], self);
  expect(watch.fault()).toBeNull();
});

describe('a hub that starts', () => {
  /** The check, with what the records answer look by look. */
  async function check(looks: HubRow[][], identities: (string | null)[] = ['run.history.b']) {
    const env = simEnv({ seed: 'same-broker' });
    let look = 0;
    const done = ensureSameBroker({
      hubId: 'self',
      env,
      records: { listHubs: async () => looks[Math.min(look++, looks.length - 1)] ?? [] },
      identity: {
        refresh: async () => {
          const identity = identities[Math.min(look, identities.length - 1)] ?? null;
          if (identity === null) throw new Error('it does not answer');
          return { identity, open: true };
        },
      },
    }).then(
      () => 'same',
      (error: Error) => error.message,
    );
    await env.clock.advanceBy(30_000);
    return await done;
  }

  test('beside hubs of the same broker, or with one that does not answer, goes on', async () => {
    expect(await check([[row('a', 'b')]])).toBe('same');
    expect(await check([[row('a', 'c')]], [null])).toBe('same');
  });

  test('beside a hub of another broker that goes on is refused by its name', async () => {
    const renewed = await check([[row('a', 'c', 1_000)], [row('a', 'c', 1_000)], [row('a', 'c', 4_000)]]);
    expect(renewed).toMatch(/REDIS_URL: hub a, which shares these records, uses another Redis/);
  });

  test('beside one that ends, or that hears of the loss, goes on', async () => {
    expect(await check([[row('a', 'c')], [row('a', 'c')], []])).toBe('same');
    expect(await check([[row('a', 'c', 1)], [row('a', 'b', 2)]])).toBe('same');
    // The loss was heard of here last.
    expect(await check([[row('a', 'c', 1)], [row('a', 'c', 1)]], ['x.y.b', 'x.y.c'])).toBe('same');
  });
});
