import assert from 'node:assert/strict';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Log } from '#protocol/env.ts';
import type { JsonObject } from '#protocol/json.ts';
import { command, describeOnRedis } from '#protocol/redis/setup.conformance.ts';
import { systemEnv } from './env.ts';
import { HubConfig, type HubConfigInput } from './hub-config.ts';
import { openStores } from './open-stores.ts';
import { plantTree } from './toolchain/planted-tree.ts';
import { type PostgresServer, startPostgres } from './toolchain/postgres-server.ts';

describeOnRedis(
  'stores on Redis and PostgreSQL',
  (redis) => {
    let postgres: PostgresServer | null = null;
    beforeAll(async () => {
      postgres = await startPostgres();
    });
    afterAll(async () => {
      await postgres?.close();
    });

    /** Opens and closes them; what was logged meanwhile lies in `lines`, also of an opening that failed. */
    async function opening(lines: [string, JsonObject][], over: HubConfigInput): Promise<void> {
      assert(postgres !== null);
      using tree = plantTree({});
      const say = (event: string, fields: JsonObject = {}) => {
        lines.push([event, fields]);
      };
      const log: Log = { debug: say, info: say, warn: say, error: say, child: () => log };
      const config = HubConfig.parse({
        databaseUrl: await postgres.database(),
        redisUrl: `redis://127.0.0.1:${redis().port}`,
        dataDir: tree.root,
        ...over,
      });
      const stores = await openStores({ config, env: systemEnv(log) });
      await stores.close();
    }

    test('are named in one line of the log, with database and prefix, without user and password', async () => {
      assert(postgres !== null);
      await command(redis(), 'ACL', 'SETUSER', 'hub', 'on', '>hush', '~*', '&*', '+@all');
      await postgres.query("CREATE ROLE hub LOGIN SUPERUSER PASSWORD 'hush'");
      const databaseUrl = (await postgres.database()).replace('postgres@', 'hub:hush@');
      const redisUrl = `redis://hub:hush@127.0.0.1:${redis().port}/3`;
      const lines: [string, JsonObject][] = [];
      await opening(lines, { databaseUrl, redisUrl, redisPrefix: 'mine' });
      const [opened] = lines.filter(([event]) => event === 'stores.opened');
      expect(opened?.[1]).toMatchObject({
        records: `postgresql 127.0.0.1:${postgres.port}${new URL(databaseUrl).pathname}`,
        broker: `redis 127.0.0.1:${redis().port}/3, keys {mine:0}`,
      });
      expect(JSON.stringify(lines)).not.toMatch(/hub|hush/);
    });

    test('end the start at once where Records refuse the user, the database or a right', async () => {
      assert(postgres !== null);
      await postgres.query('CREATE ROLE powerless LOGIN');
      const url = await postgres.database();
      for (const databaseUrl of [
        url.replace('postgres@', 'nobody@'),
        postgres.url('missing'),
        url.replace('postgres@', 'powerless@'),
      ]) {
        const lines: [string, JsonObject][] = [];
        await expect(opening(lines, { databaseUrl }), databaseUrl).rejects.toMatchObject({
          code: 'CONFIG_INVALID',
        });
        expect(lines).toEqual([]);
      }
    });

    test('end the start where Redis does not have the database, or its user lacks a right, which is named', async () => {
      await command(redis(), 'ACL', 'SETUSER', 'few', 'on', '>hush', '~*', '&*', '+@all', '-zadd');
      const at = (user: string, path: string) => `redis://${user}127.0.0.1:${redis().port}${path}`;
      await expect(opening([], { redisUrl: at('', '/99') })).rejects.toMatchObject({
        code: 'CONFIG_INVALID',
        message: expect.stringContaining('REDIS_URL names database 99'),
      });
      await expect(opening([], { redisUrl: at('few:hush@', '') })).rejects.toMatchObject({
        code: 'CONFIG_INVALID',
        message: expect.stringContaining('may not run ZADD on the keys {emp:0}'),
      });
    });
  },
  { tcp: true },
);
