import type { PostgresServer } from '#runtime/toolchain/postgres-server.ts';
import type { RedisServer } from '#runtime/toolchain/redis-server.ts';
import type { StoreFactory } from './stage.ts';
import { StoreCalls } from './store-calls.ts';
import { memoryBrokers, sqliteRecords } from './stores-embedded.ts';
import { postgresRecords } from './stores-postgres.ts';
import { type RedisLoss, redisBrokers } from './stores-redis.ts';

export interface ServerStores {
  leaseTtlMs: number;
  /** Without one the Broker is in memory. */
  redis?: RedisServer;
  /** Without one Records are SQLite in memory. */
  postgres?: PostgresServer;
  /** How Redis loses everything, in turn; a new process unless told otherwise. */
  losses?: readonly RedisLoss[];
}

/** Stores on real servers, in the time of a stage. One world at a time: the server's data are its own. */
export function serverStores(options: ServerStores): StoreFactory {
  const { leaseTtlMs, redis, postgres, losses = ['restart'] } = options;
  const calls = new StoreCalls();
  return {
    name: `${redis ? 'redis' : 'memory'} + ${postgres ? 'postgres' : 'sqlite'}`,
    afterTurn: calls.settled,
    async open({ env }) {
      const broker = redis
        ? await redisBrokers({ server: redis, calls, env, leaseTtlMs, losses })
        : memoryBrokers({ env, leaseTtlMs });
      const records = postgres
        ? await postgresRecords({ server: postgres, calls, env })
        : await sqliteRecords({ env });
      return {
        ...broker,
        records: records.records,
        async close() {
          try {
            await calls.settled();
          } finally {
            await broker.close();
            await records.close();
          }
        },
      };
    },
  };
}
