import { type BrokerMark, memoryBroker, memoryServer } from '#protocol/memory/memory-broker.ts';
import { openSqliteRecords } from '#protocol/sqlite/records.ts';
import type { StoreFactory } from './stage.ts';

/** The embedded pair: memory Broker and SQLite Records, whole in memory, on the virtual clock. */
export function embeddedStores(settings: { leaseTtlMs: number }): StoreFactory {
  return {
    name: 'memory + sqlite',
    async open({ env }) {
      const server = memoryServer({
        settings: { leaseTtlMs: settings.leaseTtlMs, priorityBoostMs: 600_000 },
        clock: env.clock,
        name: env.newId('server'),
      });
      const records = await openSqliteRecords({
        path: ':memory:',
        clock: env.clock,
        rng: env.rng.fork('records'),
      });
      return {
        broker: async () => memoryBroker(server),
        records: async () => records,
        loseAll: async () => server.loseAll(),
        mark: async () => server.mark(),
        rollback: async (mark) => server.rollback(mark as BrokerMark),
        close: async () => records.close(),
      };
    },
  };
}
