import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import type { Log } from '#protocol/env.ts';
import { openPostgresRecords } from '#protocol/postgres/records.ts';
import { describeOnRedis } from '#protocol/redis/setup.conformance.ts';
import { systemEnv } from './env.ts';
import { HubConfig } from './hub-config.ts';
import { startHub } from './start-hub.ts';
import { startPostgres } from './toolchain/postgres-server.ts';
import type { RedisServer } from './toolchain/redis-server.ts';

const cleanUps: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const clean of cleanUps.splice(0).reverse()) await clean();
});

/** An environment that calls `on` at each event of the log. */
function listening(on: (event: string) => void) {
  const log: Log = { debug: on, info: on, warn: on, error: on, child: () => log };
  return systemEnv(log);
}

describeOnRedis('a start that waits for the time of another hub', onServer, { tcp: true });

function onServer(redis: () => RedisServer): void {
  test('ends at once when it is told to, and has taken no role', async () => {
    const postgres = await startPostgres();
    cleanUps.push(() => postgres.close());
    const dir = await mkdtemp(join(tmpdir(), 'emp-start-'));
    cleanUps.push(() => rm(dir, { recursive: true, force: true }));
    const databaseUrl = await postgres.database();
    const config = HubConfig.parse({
      port: 0,
      databaseUrl,
      redisUrl: `redis://127.0.0.1:${redis().port}`,
      redisPrefix: 'told',
      dataDir: dir,
    });
    const env = listening(() => {});
    const records = await openPostgresRecords({ url: databaseUrl, poolLimit: 4, ...env });
    cleanUps.push(() => records.close());
    // It is never renewed and its time does not end within this test.
    const other = {
      hubId: 'other',
      run: null,
      url: null,
      version: 'test',
      broker: 'another',
      ttlMs: 600_000,
    };
    await records.registerHub(other);

    const told = new AbortController();
    const reason = new Error('interrupted');
    const waits = listening((event) => {
      if (event === 'hub.otherBroker') told.abort(reason);
    });
    await expect(startHub({ config, env: waits, signal: told.signal })).rejects.toBe(reason);
    // The first holder of a role has token 1.
    const role = { name: 'sweeper', holder: 'test', ttlMs: 1_000, current: null };
    expect(await records.holdSingleton(role)).toMatchObject({ token: 1 });
  });
}
