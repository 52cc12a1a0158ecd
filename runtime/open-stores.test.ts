import { expect, test } from 'vitest';
import type { Log } from '#protocol/env.ts';
import type { JsonObject } from '#protocol/json.ts';
import { systemEnv } from './env.ts';
import { HubConfig, type HubConfigInput } from './hub-config.ts';
import { openStores } from './open-stores.ts';
import { plantTree } from './toolchain/planted-tree.ts';

interface Line {
  level: string;
  event: string;
  fields: JsonObject;
}

/** Opens the stores, closes them, and answers what was logged meanwhile. `on` hears each line. */
async function logOf(config: HubConfigInput, on: (line: Line) => void = () => {}, signal?: AbortSignal) {
  const lines: Line[] = [];
  const at =
    (level: string) =>
    (event: string, fields: JsonObject = {}) => {
      const line = { level, event, fields };
      lines.push(line);
      on(line);
    };
  const log: Log = {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: () => log,
  };
  const stores = await openStores({ config: HubConfig.parse(config), env: systemEnv(log), signal });
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

test('a start that waits for records ends when it is told to', async () => {
  using tree = plantTree({});
  const told = new AbortController();
  const reason = new Error('interrupted');
  const waits = ({ event }: Line) => {
    if (event === 'records.waiting') told.abort(reason);
  };
  // Nothing listens on port 1.
  const urls = { redisUrl: 'redis://127.0.0.1:1', databaseUrl: 'postgresql://127.0.0.1:1/emp' };
  // With a limit that this test could not wait for.
  const config = { ...urls, dataDir: tree.root, startLimitMs: 3_600_000 };
  await expect(logOf(config, waits, told.signal)).rejects.toBe(reason);
});
