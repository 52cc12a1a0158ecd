import { afterAll, beforeAll, describe, test } from 'vitest';
import { describeOnRedis } from '#protocol/redis/setup.conformance.ts';
import { type PostgresServer, startPostgres } from '#runtime/toolchain/postgres-server.ts';
import { interleavings, play } from './interleavings.ts';
import { stageTtlMs } from './stage.ts';
import { serverStores } from './stores-servers.ts';

/** The named interleavings with Records on a real server, a client of it for each hub. */

let postgres: PostgresServer;
beforeAll(async () => {
  postgres = await startPostgres();
});
afterAll(() => postgres.close());

const named = interleavings.map((each) => [each.name, each] as const);

describe('interleavings on memory + postgres', () => {
  test.each(named)('%s', async (_name, interleaving) => {
    await play(interleaving, serverStores({ leaseTtlMs: stageTtlMs, postgres }));
  });
});

describeOnRedis('interleavings on redis + postgres', (redis) => {
  test.each(named)('%s', async (_name, interleaving) => {
    const stores = serverStores({ leaseTtlMs: stageTtlMs, redis: redis(), postgres });
    await play(interleaving, stores);
  });
});
