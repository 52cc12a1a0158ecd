import { Redis, type RedisOptions } from 'ioredis';
import { EmpError } from '#protocol/errors.ts';
import { databaseRefusal, redisAddress } from './redis-url.ts';
import { tlsRefusal } from './tls.ts';

/** Options of ioredis; replies keep the shapes of RESP2 whatever the protocol is. */
export type RedisTarget = Omit<RedisOptions, 'replyMapping'>;

export interface ConnectionOptions {
  /** `redis://` or `rediss://` (TLS) URL, which may name files of certificates, or the options of ioredis. */
  target: string | RedisTarget;
  /** RESP version; 2 for proxies and hosted servers that answer HELLO 3 in their own way. */
  protocol: 2 | 3;
  /** Every call is refused after this long, ms. */
  deadlineMs: number;
}

/**
 * One connection. A call that was under way when it broke is refused, never sent again: the server
 * may have run it, and a beat that runs twice would count twice. Callers repeat what they may repeat.
 */
export function connect(options: ConnectionOptions): Redis {
  const { target } = options;
  const place: RedisTarget = typeof target === 'string' ? redisAddress(target) : target;
  const redis = new Redis({
    ...place,
    protocol: options.protocol,
    commandTimeout: options.deadlineMs,
    connectTimeout: options.deadlineMs,
    // A connection that a firewall or a host has forgotten answers nothing, and nobody closes it: TCP would go
    // on trying for a quarter of an hour. Whatever is silent for the time of a call is made anew.
    socketTimeout: options.deadlineMs,
    lazyConnect: true,
    autoResendUnfulfilledCommands: false,
    // Each failed attempt to connect refuses the calls that wait for it.
    maxRetriesPerRequest: 0,
    retryStrategy: (times: number) => Math.min(2_000, 25 * 2 ** Math.min(times, 10)),
    // A primary that was demoted refuses writes for good: connect again, to where the address leads now.
    reconnectOnError: (error: Error) => error.message.startsWith('READONLY'),
  });
  holdToDatabase(redis);
  explainFirstFailures(redis, place.tls !== undefined);
  return redis;
}

/**
 * A connection whose SELECT failed is given up: ioredis would go on with it in database 0, beside the keys
 * of whoever lives there. It selects while it connects, so that nothing is sent to another database.
 */
function holdToDatabase(redis: Redis): void {
  const select = redis.select.bind(redis);
  const failed = new WeakSet<Error>();
  redis.select = async (db: number | string) => {
    try {
      return await select(db);
    } catch (error) {
      const failure = selectFailure(error, Number(db));
      failed.add(failure);
      throw failure;
    }
  };
  // ioredis tells of it here, and only after it knows that it need not begin anew with RESP2.
  redis.on('error', (error: Error) => {
    if (failed.has(error)) redis.disconnect(true);
  });
}

function selectFailure(error: unknown, db: number): EmpError {
  const message = error instanceof Error ? error.message : String(error);
  const refusal = databaseRefusal(message, db);
  if (refusal === null) return brokerError(error, 'select');
  const detail = `${refusal} (${message}); see docs/redis.md`;
  return new EmpError('CONFIG_INVALID', { detail, fields: { database: db }, cause: error });
}

/** What may be wrong with the settings where a connection failed in a way that does not tell. */
const hints = new WeakMap<Error, string>();

/** How the wrong choice between TLS and none shows: one side waits for the other, or hangs up. */
const silentFailures = new Set(['ETIMEDOUT', 'ECONNRESET', 'EPIPE']);

/** Until the first connection is ready, failures that TLS or its absence would explain say so. */
function explainFirstFailures(redis: Redis, isEncrypted: boolean): void {
  const hint = isEncrypted
    ? 'if it is there but speaks no TLS on this port, write redis:// instead of rediss://'
    : 'if it is there but speaks TLS on this port, write rediss:// instead of redis://';
  let failed = false;
  const onError = (error: Error) => {
    failed = true;
    if ('code' in error && silentFailures.has(String(error.code))) hints.set(error, hint);
  };
  const onConnecting = () => {
    failed = false;
  };
  // A server that hangs up in good order is no error to ioredis, which says nothing then.
  const onClose = () => {
    if (failed) return;
    const error = new Error('the server closed the connection before it was ready');
    hints.set(error, hint);
    redis.emit('error', error);
  };
  redis.on('error', onError).on('connecting', onConnecting).on('close', onClose);
  redis.once('ready', () => {
    redis.off('error', onError).off('connecting', onConnecting).off('close', onClose);
  });
}

/**
 * Refuses a server that may drop keys: the index would lose jobs without a word. `unknown` = the
 * server does not tell (CONFIG and INFO are closed on some hosts), accepted only by setting.
 */
export async function checkEviction(redis: Redis, options: { allowUnknown: boolean }): Promise<void> {
  const policy = await evictionPolicy(redis);
  if (policy === 'noeviction' || (policy === null && options.allowUnknown)) return;
  const detail =
    policy === null
      ? 'the Redis server does not tell its maxmemory-policy: make sure that it is noeviction, then set EMP_REDIS_ALLOW_UNKNOWN_EVICTION=true'
      : `the Redis server has maxmemory-policy ${policy} and would drop jobs when it is full: CONFIG SET maxmemory-policy noeviction`;
  throw new EmpError('CONFIG_INVALID', { detail, fields: { policy } });
}

async function evictionPolicy(redis: Redis): Promise<string | null> {
  const memory = await redis.info('memory');
  const named = /^maxmemory_policy:(\S+)/m.exec(memory)?.[1];
  return named ?? null;
}

/** Connection settings that cannot become right by waiting. */
const badSettings =
  /^(WRONGPASS|NOAUTH|NOPERM|ERR (AUTH|invalid password|unknown command|Client sent AUTH))|^(ERR )?(The user executing the script can't|ACL failure in script|Unknown (Redis )?command called from script)/;
const brokenStep = /EMPSCHEMA|EMPIDENTITY|user_script|user_function|ERR value|WRONGTYPE|Wrong number/;

/** What a failed call is to its caller. Nothing here says whether the server ran it, but a refusal by name. */
export function brokerError(error: unknown, step: string): EmpError {
  if (error instanceof EmpError) return error;
  const message = error instanceof Error ? error.message : String(error);
  const fields = { step };
  // ioredis keeps the whole command on its errors: job bodies do not belong in logs.
  if (error instanceof Error && 'command' in error) delete error.command;
  if (message.startsWith('OOM'))
    return new EmpError('BROKER_UNAVAILABLE', {
      detail: 'the Redis server is full (maxmemory): running work goes on, new work must wait',
      fields: { ...fields, full: true },
      cause: error,
    });
  const tls = tlsRefusal(error);
  if (tls !== null)
    return new EmpError('CONFIG_INVALID', {
      detail: `no safe connection to the Redis server: ${tls} (${message}); see docs/redis.md`,
      fields,
      cause: error,
    });
  if (badSettings.test(message))
    return new EmpError('CONFIG_INVALID', {
      detail: `the Redis server refuses this client: ${message}; see docs/redis.md for what it must be allowed`,
      fields,
      cause: error,
    });
  if (/EMPSCHEMA|EMPIDENTITY/.test(message))
    return new EmpError('CONFIG_INVALID', { detail: message, fields, cause: error });
  if (brokenStep.test(message))
    return new EmpError('INTERNAL', { detail: `broker step ${step}: ${message}`, fields, cause: error });
  const hint = error instanceof Error && hints.has(error) ? `; ${hints.get(error)}` : '';
  return new EmpError('BROKER_UNAVAILABLE', {
    detail: `the Redis server did not serve ${step}: ${message}${hint}`,
    fields,
    cause: error,
  });
}
