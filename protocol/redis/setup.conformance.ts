import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { type BrokerUnderTest, brokerSettings } from '#protocol/broker-fixture.conformance.ts';
import {
  findRedisServer,
  RedisServer,
  type RedisServerOptions,
  redisMissing,
} from '#runtime/toolchain/redis-server.ts';
import { VirtualClock } from '#simulations/virtual-clock.ts';
import type { LoaderKind } from './loader.ts';
import { openRedisBroker, type RedisBroker, type RedisBrokerOptions } from './redis-broker.ts';

/** Runs the suite on one private server; without a server it is skipped with the reason, but fails in CI. */
export function describeOnRedis(
  name: string,
  body: (server: () => RedisServer) => void,
  options: RedisServerOptions = {},
): void {
  describe(name, () => {
    if (findRedisServer() === null) {
      test('a redis-server is on PATH', (context) => {
        if (process.env.CI === 'true') throw new Error(redisMissing);
        context.skip(redisMissing);
      });
      return;
    }
    let server: RedisServer | null = null;
    beforeAll(async () => {
      server = await RedisServer.start(options);
    });
    afterAll(async () => {
      await server?.close();
    });
    body(() => {
      if (server === null) throw new Error('the server is started before the first test');
      return server;
    });
  });
}

/** One command on a connection of its own. */
export async function command(server: RedisServer, ...args: [string, ...string[]]): Promise<unknown> {
  const redis = new Redis({ path: server.path, maxRetriesPerRequest: 0 });
  try {
    const [name, ...rest] = args;
    return await redis.call(name, ...rest);
  } finally {
    redis.disconnect();
  }
}

export interface RedisUnderTest extends BrokerUnderTest {
  broker: RedisBroker;
  clock: VirtualClock;
}

/** A fresh Broker on this server and a virtual clock, as the suites want it. */
export async function redisSetup(
  server: RedisServer,
  loader: LoaderKind,
  clock: VirtualClock = new VirtualClock(),
  over: Partial<RedisBrokerOptions> = {},
): Promise<RedisUnderTest> {
  await command(server, 'FLUSHALL');
  const connect = () =>
    openRedisBroker({
      url: { path: server.path },
      settings: brokerSettings,
      clock,
      loader,
      now: () => clock.now(),
      ...over,
    });
  const open = [await connect()];
  return {
    clock,
    broker: open[0] as RedisBroker,
    async connect() {
      const broker = await connect();
      open.push(broker);
      return broker;
    },
    now: async () => clock.now(),
    advance: (ms) => clock.advanceBy(ms),
    restart: () => server.restart(),
    loseAll: () => server.restartEmpty(),
    mark: () => server.mark(),
    rollback: (mark) => server.rollback(String(mark)),
    async close() {
      for (const broker of open) await broker.close();
    },
  };
}
