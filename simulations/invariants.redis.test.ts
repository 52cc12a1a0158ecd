import { Redis } from 'ioredis';
import { expect, test } from 'vitest';
import { describeOnRedis } from '#protocol/redis/setup.conformance.ts';
import { Stage, stageTtlMs } from './stage.ts';
import { serverStores } from './stores-servers.ts';

describeOnRedis('a damaged Redis', (server) => {
  /** Two waiting jobs; what `damage` does to the keys; what the next look at the stores finds. */
  async function found(damage: (redis: Redis) => Promise<unknown>): Promise<string> {
    const stage = await Stage.open(serverStores({ leaseTtlMs: stageTtlMs, redis: server() }), 'damage');
    const redis = new Redis({ path: server().path });
    try {
      for (const id of ['a', 'b']) await stage.h1.submit(id);
      await damage(redis);
      return await stage.audit(false).then(
        () => 'nothing',
        (error: Error) => error.message,
      );
    } finally {
      redis.disconnect();
      await stage.close();
    }
  }

  test('that is sound is found so', async () => {
    expect(await found(async () => {})).toBe('nothing');
  });
  test('I2: an entry that no index has is found', async () => {
    expect(
      await found((redis) => redis.set('{emp:0}:job:ghost', 'w 1 0 0 0 0 - 0 0 g - standard 0 0 0 ')),
    ).toMatch(/^I2, I7: .*ghost|jobs/);
  });
  test('I7: a lane whose head was taken away behind the back of the heads is found', async () => {
    const told = await found(async (redis) => {
      const [lane = ''] = await redis.keys('{emp:0}:lane:*');
      await redis.zadd(lane, 5, 'nobody');
    });
    expect(told).toMatch(/^I2, I7: /);
  });
});
