import { Redis } from 'ioredis';
import type { Broker } from '#protocol/broker.ts';
import { indexProblems } from '#protocol/redis/index-audit.conformance.ts';
import { openRedisBroker, type RedisBroker } from '#protocol/redis/redis-broker.ts';
import type { RedisServer } from '#runtime/toolchain/redis-server.ts';
import type { SimEnv } from './sim-env.ts';
import type { BrokerPart } from './stage.ts';
import type { StoreCalls } from './store-calls.ts';

/** Real time for one call, ms: a busy machine must not look like a broken server. */
const deadlineMs = 60_000;

/** How the server loses everything: `flush` keeps process and connections, `restart` neither. */
export type RedisLoss = 'flush' | 'restart';

export interface RedisBrokerOptions {
  server: RedisServer;
  calls: StoreCalls;
  env: SimEnv;
  leaseTtlMs: number;
  losses: readonly RedisLoss[];
}

/**
 * The Broker on a real Redis, in the time of a stage: its steps are the Lua that ships and take the
 * virtual clock's time. Losses are real: `losses` in turn (FLUSHALL, or a new process without data), and
 * a rollback is a new process on an older RDB file. Each comes back under another identity.
 */
export async function redisBrokers(options: RedisBrokerOptions): Promise<BrokerPart> {
  const { server, calls, env, leaseTtlMs, losses } = options;
  const open: RedisBroker[] = [];
  const command = async (name: string) => {
    const redis = new Redis({ path: server.path, maxRetriesPerRequest: 0 });
    try {
      await redis.call(name);
    } finally {
      redis.disconnect();
    }
  };
  await command('FLUSHALL');
  // As TIME of a server whose clock nobody moves: steps of the stage's wall clock do not reach it.
  const originMs = env.clock.now() - env.clock.monotonic();
  let lost = 0;
  const loseAll = async () => {
    const how = losses[lost++ % losses.length] ?? 'restart';
    if (how === 'flush') return await command('FLUSHALL');
    await server.restartEmpty();
    await reconnect(open);
  };
  return {
    async broker(): Promise<Broker> {
      const opening = openRedisBroker({
        url: { path: server.path },
        settings: { leaseTtlMs, priorityBoostMs: 600_000 },
        clock: env.clock,
        deadlineMs,
        now: () => originMs + env.clock.monotonic(),
      });
      const broker = await calls.track(opening);
      open.push(broker);
      return calls.watched(broker);
    },
    loseAll: () => calls.command('a loss of everything', loseAll),
    mark: () => calls.track(server.mark()),
    rollback: (mark) =>
      calls.command('a rollback', async () => {
        await server.rollback(String(mark));
        await reconnect(open);
      }),
    async indexProblems() {
      const redis = new Redis({ path: server.path, maxRetriesPerRequest: 0 });
      try {
        return await calls.track(indexProblems(redis));
      } finally {
        redis.disconnect();
      }
    },
    async close() {
      for (const broker of open) await broker.close();
    },
  };
}

/** Each try waits for the client's own next attempt to connect, at most 2 s. */
const reconnectTries = 30;

/** Until every client has found the new process: otherwise chance would decide which call fails first. */
async function reconnect(brokers: readonly RedisBroker[]): Promise<void> {
  for (const broker of brokers) {
    for (let triesLeft = reconnectTries; ; triesLeft--) {
      try {
        await broker.identity();
        break;
      } catch (error) {
        if (triesLeft === 0) throw error;
      }
    }
  }
}
