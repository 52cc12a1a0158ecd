import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { expect, test } from 'vitest';
import { brokerConformance } from '#protocol/broker.conformance.ts';
import { repositoryRoot } from '#runtime/toolchain/repository.ts';
import { beat, claim, connect, ready, reconcile, submit } from './client.conformance.ts';
import { checkRights, neededCalls } from './rights.ts';
import { libraryText } from './scripts.ts';
import { command, describeOnRedis, redisSetup } from './setup.conformance.ts';

/** Servers that allow little: a confined user, no functions, RESP2. The suite must not need more. */

/** The rules of the user that docs/redis.md tells operators to make. */
function documentedRules(): string[] {
  const text = readFileSync(join(repositoryRoot, 'docs/redis.md'), 'utf8');
  const [, rules] = /^ACL SETUSER emp on >PASSWORD (.+)$/m.exec(text) ?? [];
  if (rules === undefined) throw new Error('docs/redis.md has no line ACL SETUSER emp on >PASSWORD …');
  return rules.split(' ');
}

const functionRights = ['+fcall', '+function|load', '+function|list'];
const user = (rules: readonly string[]) => ['--user', 'emp', 'on', '>secret', ...rules];
const asUser = (path: string) => ({ url: { path, username: 'emp', password: 'secret' } });

describeOnRedis(
  'redis by RESP2, as the documented user without functions',
  (server) => {
    brokerConformance('auto', () =>
      redisSetup(server(), 'evalsha', undefined, { ...asUser(server().path), loader: 'auto', protocol: 2 }),
    );

    test('functions are refused to this user', async () => {
      await expect(connect(server(), { ...asUser(server().path), loader: 'function' })).rejects.toMatchObject(
        { code: 'CONFIG_INVALID' },
      );
    });
  },
  { args: user(documentedRules().filter((rule) => !functionRights.includes(rule))) },
);

describeOnRedis(
  'the documented user',
  (server) => {
    test('is served by functions, and reloads them when they are gone', async () => {
      const broker = await ready(server(), { ...asUser(server().path), loader: 'function' });
      await submit(broker, 'a', 'b');
      await command(server(), 'FUNCTION', 'FLUSH');
      const answer = await claim(broker, 1);
      if (answer.kind !== 'leased') throw new Error(answer.kind);
      const { jobId, token } = answer.lease;
      expect(await beat(broker, [{ jobId, token }])).toMatchObject({ kind: 'ok' });
      expect(await broker.stats()).toMatchObject({ open: true });
    });

    test.each([
      ['a key of others', ['GET', 'theirs']],
      ['a key of another prefix', ['HGET', '{other:0}:meta', 'schema']],
      ['their functions', ['FUNCTION', 'DELETE', 'theirs']],
      ['all keys', ['FLUSHALL']],
      ['names of keys', ['SCAN', '0']],
      ['settings', ['CONFIG', 'GET', '*']],
      ['channels', ['PUBLISH', 'theirs', '1']],
    ] as const)('does not reach %s', async (_, [name, ...args]) => {
      await command(server(), 'SET', 'theirs', '1');
      const redis = new Redis({ ...asUser(server().path).url, maxRetriesPerRequest: 0 });
      try {
        await expect(redis.call(name, ...args)).rejects.toThrow(/NOPERM/);
      } finally {
        redis.disconnect();
      }
    });

    test('that may not use our keys is told as a setting to correct', async () => {
      const refused = connect(server(), { ...asUser(server().path), prefix: 'other' }).then((broker) =>
        broker.identity(),
      );
      await expect(refused).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    });
  },
  { args: user(documentedRules()) },
);

describeOnRedis('a user who lacks rights', (server) => {
  const as = (name: string) => ({ path: server().path, username: name, password: 'secret' });
  const asked = (name: string, prefix = 'emp') =>
    checkRights({ target: as(name), protocol: 3, deadlineMs: 5_000, prefix });
  const setUser = (name: string, rules: readonly string[]) =>
    command(server(), 'ACL', 'SETUSER', name, 'on', '>secret', ...rules);

  test('is told which before anything runs: every command and the keys, at once', async () => {
    await setUser('few', [...documentedRules(), '-hget', '-zadd']);
    await expect(asked('few')).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringMatching(
        /may not run HGET, ZADD on the keys \{emp:0\} and \{emp:0\}:\*, .*docs\/redis.md/,
      ),
    });
    await setUser('abroad', documentedRules());
    await expect(asked('abroad', 'other')).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringMatching(/may not run DEL, .*ZSCORE on the keys \{other:0\}/),
    });
    await setUser('reader', [...documentedRules(), 'resetkeys', '%R~{emp:0}', '%R~{emp:0}:*']);
    await expect(asked('reader')).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  });

  test('passes with exactly the documented ones, and with all', async () => {
    await setUser('right', documentedRules());
    await asked('right');
    await setUser('all', ['~*', '&*', '+@all']);
    await asked('all');
  });

  test('passes where the server cannot be asked, and the call that needs the right says so', async () => {
    await setUser('mute', [...documentedRules(), '-evalsha', '-hget']);
    await asked('mute');
    await checkRights({
      target: { path: `${server().path}.nobody` },
      ...{ protocol: 3, deadlineMs: 500, prefix: 'emp' },
    });
  });

  for (const loader of ['function', 'evalsha'] as const) {
    test(`is told so by the step that needs it (${loader})`, async () => {
      await setUser('late', documentedRules());
      const broker = await ready(server(), { url: as('late'), loader });
      await setUser('late', ['-zadd']);
      await expect(submit(broker, 'a')).rejects.toMatchObject({
        code: 'CONFIG_INVALID',
        message: expect.stringContaining('the Redis server refuses this client'),
      });
      await setUser('late', ['+zadd', 'resetkeys', '~{emp:0}']);
      await expect(broker.identity()).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    });
  }
});

describeOnRedis(
  'a server where a command of the steps was renamed away',
  (server) => {
    test('is a setting to correct, before the start and for the step that needs it', async () => {
      await expect(
        checkRights({ target: { path: server().path }, protocol: 3, deadlineMs: 5_000, prefix: 'emp' }),
      ).rejects.toMatchObject({
        code: 'CONFIG_INVALID',
        message: expect.stringContaining('may not run ZADD on'),
      });
      const broker = await connect(server());
      await reconcile(broker);
      await expect(submit(broker, 'a')).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    });
  },
  { args: ['--rename-command', 'ZADD', ''] },
);

test('what is asked for is what the steps call, and PING', () => {
  const called = [...libraryText().matchAll(/\('([A-Z]{3,})'/g)].map(([, name]) => name);
  const asked = neededCalls.map((call) => call.split(' ')[0]);
  expect(asked).toEqual([...new Set([...called, 'PING'])].toSorted());
});

describeOnRedis(
  'a server whose functions were renamed away',
  (server) => {
    test('is served by scripts', async () => {
      const broker = await ready(server());
      await submit(broker, 'a');
      expect(await claim(broker, 1)).toMatchObject({ kind: 'leased' });
      await expect(connect(server(), { loader: 'function' })).rejects.toMatchObject({
        code: 'CONFIG_INVALID',
        message: expect.stringContaining('unknown command'),
      });
    });
  },
  { args: ['--rename-command', 'FCALL', '', '--rename-command', 'FUNCTION', ''] },
);
