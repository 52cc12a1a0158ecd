import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { expect, test } from 'vitest';
import { brokerConformance } from '#protocol/broker.conformance.ts';
import { repositoryRoot } from '#runtime/toolchain/repository.ts';
import { beat, claim, connect, ready, submit } from './client.conformance.ts';
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
