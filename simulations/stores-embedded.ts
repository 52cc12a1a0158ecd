import { auditData } from '#protocol/memory/audit.conformance.ts';
import { type BrokerMark, memoryBroker, memoryServer } from '#protocol/memory/memory-broker.ts';
import { openSqliteRecords } from '#protocol/sqlite/records.ts';
import type { SimEnv } from './sim-env.ts';
import type { BrokerPart, RecordsPart, StoreFactory } from './stage.ts';

/** The Broker in memory, on the virtual clock. */
export function memoryBrokers(options: { env: SimEnv; leaseTtlMs: number }): BrokerPart {
  const { env, leaseTtlMs } = options;
  const server = memoryServer({
    settings: { leaseTtlMs, priorityBoostMs: 600_000 },
    clock: env.clock,
    name: env.newId('server'),
  });
  return {
    broker: async () => memoryBroker(server),
    loseAll: async () => server.loseAll(),
    mark: async () => server.mark(),
    rollback: async (mark) => server.rollback(mark as BrokerMark),
    indexProblems: async () => auditData(server.mark().data),
    close: async () => {},
  };
}

/** Records in a SQLite that is whole in memory, on the virtual clock. */
export async function sqliteRecords(options: { env: SimEnv }): Promise<RecordsPart> {
  const { clock, rng } = options.env;
  const records = await openSqliteRecords({ path: ':memory:', clock, rng: rng.fork('records') });
  return { records: async () => records, close: () => records.close() };
}

/** The embedded pair. */
export function embeddedStores(settings: { leaseTtlMs: number }): StoreFactory {
  return {
    name: 'memory + sqlite',
    async open({ env }) {
      const broker = memoryBrokers({ env, leaseTtlMs: settings.leaseTtlMs });
      const { records, close } = await sqliteRecords({ env });
      return { ...broker, records, close };
    },
  };
}
