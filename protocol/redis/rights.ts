import { EmpError } from '#protocol/errors.ts';
import { type ConnectionOptions, connect } from './connection.ts';

/**
 * Each command that a step calls, or that is sent beside them, as it is called; KEY stands for one of our
 * keys. Whole calls only: of a call with too few arguments Redis 7.0 reads keys that are not there, and
 * crashes while it asks whether they are allowed.
 */
export const neededCalls: readonly string[] = [
  'DEL KEY',
  'EXISTS KEY',
  'GET KEY',
  'HDEL KEY field',
  'HGET KEY field',
  'HGETALL KEY',
  'HINCRBY KEY field 1',
  'HKEYS KEY',
  'HLEN KEY',
  'HMGET KEY field',
  'HSET KEY field value',
  'INFO server',
  'MGET KEY',
  'MSET KEY value',
  'PING',
  'SADD KEY member',
  'SET KEY value',
  'SREM KEY member',
  'TIME',
  'UNLINK KEY',
  'XADD KEY * field value',
  'XDEL KEY 1-1',
  'XRANGE KEY - +',
  'XTRIM KEY MINID 1-1',
  'ZADD KEY 0 member',
  'ZCARD KEY',
  'ZCOUNT KEY 0 1',
  'ZINTERSTORE KEY 1 KEY',
  'ZRANGE KEY 0 1',
  'ZRANGEBYLEX KEY - +',
  'ZRANGEBYSCORE KEY 0 1',
  'ZRANK KEY member',
  'ZREM KEY member',
  'ZREMRANGEBYRANK KEY 0 1',
  'ZSCORE KEY member',
];

/**
 * Asks the server which calls its user may not make, without making them. ARGV are the calls. Returns
 * the names of those that are refused, or unknown to the server; nothing where it cannot be asked.
 */
const question = `local missing = {}
if not redis.acl_check_cmd then return missing end
for _, text in ipairs(ARGV) do
  local words = {}
  for word in string.gmatch(text, '%S+') do words[#words + 1] = word end
  local known, allowed = pcall(redis.acl_check_cmd, unpack(words))
  if not (known and allowed) then missing[#missing + 1] = words[1] end
end
return missing`;

/**
 * Throws CONFIG_INVALID where the user lacks rights that steps need, with all of them at once: a server
 * checks each command of a script only when it comes to it, which may be hours after the start. A user
 * who may not run scripts (only functions), or a server that cannot be asked or reached, passes: there
 * the step that needs a right says so.
 */
export async function checkRights(options: ConnectionOptions & { prefix: string }): Promise<void> {
  const keys = `{${options.prefix}:0}`;
  const missing = [...new Set(await missingRights(options, keys))];
  if (missing.length === 0) return;
  throw new EmpError('CONFIG_INVALID', {
    detail: `the user of REDIS_URL may not run ${missing.join(', ')} on the keys ${keys} and ${keys}:*, or the server does not know them: docs/redis.md has the ACL SETUSER that gives what is needed`,
    fields: { missing: missing.join(' ') },
  });
}

async function missingRights(options: ConnectionOptions, keys: string): Promise<string[]> {
  const redis = connect(options);
  // Told by the call that it makes fail.
  redis.on('error', () => undefined);
  try {
    await redis.connect();
    const sha = String(await redis.call('SCRIPT', 'LOAD', question));
    const calls = [keys, `${keys}:x`].flatMap((key) =>
      neededCalls.map((call) => call.replaceAll(/\bKEY\b/g, key)),
    );
    const reply = await redis.call('EVALSHA', sha, 0, ...calls);
    return Array.isArray(reply) ? reply.map(String) : [];
  } catch {
    // Not to be asked, or gone meanwhile: no reason not to start.
    return [];
  } finally {
    redis.disconnect();
  }
}
