import { setImmediate as turn } from 'node:timers/promises';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { type BrokerMark, memoryBroker, memoryServer } from '#protocol/memory/memory-broker.ts';
import { openPostgresRecords } from '#protocol/postgres/records.ts';
import type { Records } from '#protocol/records.ts';
import { systemClock } from '#runtime/env.ts';
import { type PostgresServer, startPostgres } from '#runtime/toolchain/postgres-server.ts';
import { interleavings, play } from './interleavings.ts';
import { type StoreFactory, stageTtlMs } from './stage.ts';

/** The fifteen interleavings with Records on a real server, a client of it for each hub. */

let server: PostgresServer;
beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => server.close());

/** Calls of any Records client that have not been answered. */
const underWay = new Set<Promise<unknown>>();

function watched(records: Records): Records {
  return new Proxy(records, {
    get: (target, name: keyof Records) => {
      const method = target[name] as ((...args: unknown[]) => Promise<unknown>) | undefined;
      // `then`, for one: an await asks for it.
      if (method === undefined) return undefined;
      return (...args: unknown[]) => {
        const call = method.apply(target, args);
        underWay.add(call);
        const forget = () => underWay.delete(call);
        call.then(forget, forget);
        return call;
      };
    },
  });
}

const factory: StoreFactory = {
  name: 'memory + postgres',
  afterTurn: async () => {
    while (underWay.size > 0) {
      await Promise.allSettled(underWay);
      await turn();
    }
  },
  async open({ env }) {
    const url = await server.database();
    const clients: Records[] = [];
    const memory = memoryServer({
      settings: { leaseTtlMs: stageTtlMs, priorityBoostMs: 600_000 },
      clock: env.clock,
      name: env.newId('server'),
    });
    return {
      broker: async () => memoryBroker(memory),
      records: async () => {
        const { log } = env;
        // Pauses between tries are of the real server's time; rows carry the stage's.
        const clock = { ...systemClock, now: () => env.clock.now() };
        const records = await openPostgresRecords({
          url,
          poolLimit: 4,
          clock,
          rng: env.rng.fork('records'),
          log,
        });
        clients.push(records);
        return watched(records);
      },
      loseAll: async () => memory.loseAll(),
      mark: async () => memory.mark(),
      rollback: async (mark) => memory.rollback(mark as BrokerMark),
      close: async () => {
        for (const records of clients) await records.close();
      },
    };
  },
};

describe(`interleavings on ${factory.name}`, () => {
  test.each(interleavings.map((each) => [each.name, each] as const))('%s', async (_name, interleaving) => {
    await play(interleaving, factory);
  });
});
