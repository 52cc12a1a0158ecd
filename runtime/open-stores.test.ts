import { expect, test } from 'vitest';
import type { Log } from '#protocol/env.ts';
import type { JsonObject } from '#protocol/json.ts';
import { systemEnv } from './env.ts';
import { HubConfig, type HubConfigInput } from './hub-config.ts';
import { openStores } from './open-stores.ts';
import { plantTree } from './toolchain/planted-tree.ts';

/** Opens the stores, closes them, and answers what was logged meanwhile. */
async function logOf(config: HubConfigInput) {
  const lines: { level: string; event: string; fields: JsonObject }[] = [];
  const at =
    (level: string) =>
    (event: string, fields: JsonObject = {}) => {
      lines.push({ level, event, fields });
    };
  const log: Log = {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: () => log,
  };
  const stores = await openStores({ config: HubConfig.parse(config), env: systemEnv(log) });
  await stores.close();
  return lines;
}

test('one line of the log says which embedded stores a hub uses', async () => {
  using tree = plantTree({});
  expect(await logOf({ dataDir: tree.root })).toEqual([
    {
      level: 'info',
      event: 'stores.opened',
      fields: {
        records: `sqlite ${tree.root}/records.sqlite`,
        broker: 'memory',
        objects: `${tree.root}/objects`,
      },
    },
  ]);
});

test.each([
  [{ redisUrl: 'redis://127.0.0.1:1/abc' }, /^REDIS_URL has behind the port what is no database number/],
  [{ redisUrl: 'redis://127.0.0.1:1?bogus=1' }, /^REDIS_URL has the parameter bogus/],
  [
    { redisUrl: 'redis://127.0.0.1:1', databaseUrl: 'postgresql://127.0.0.1:1/emp?sslrootcert=/nope' },
    /^DATABASE_URL names a file by sslrootcert that cannot be read: ENOENT.*'\/nope'/,
  ],
  // Records are not waited for where the other URL is wrong.
  [
    { redisUrl: 'redis://127.0.0.1:1/abc', databaseUrl: 'postgresql://127.0.0.1:1/emp' },
    /^REDIS_URL has behind the port/,
  ],
])('a URL that cannot be used ends the start at once: %o', async (urls, message) => {
  using tree = plantTree({});
  await expect(logOf({ ...urls, dataDir: tree.root })).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
    message: expect.stringMatching(message),
  });
});
