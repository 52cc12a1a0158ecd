import { readStoreUrl, type StoreUrlForm, storeUrlRefusal } from '#protocol/store-url.ts';
import { readTlsFiles, type TlsFiles, tlsFileParameters } from '#protocol/tls/tls-files.ts';

/** Where REDIS_URL leads, as options of ioredis. */
export interface RedisAddress {
  host: string;
  port: number;
  /** Number of the database that every connection selects. */
  db: number;
  username?: string;
  password?: string;
  /** IP version that a name is resolved to; absent = either. */
  family?: 4 | 6;
  /** Absent without TLS. */
  tls?: TlsFiles;
}

const form: StoreUrlForm = {
  variable: 'REDIS_URL',
  protocols: ['redis:', 'rediss:'],
  form: 'redis://HOST:PORT, redis://HOST:PORT/NUMBER for another database than 0, or rediss://USER:PASSWORD@HOST:PORT (TLS)',
  parameters: ['family', ...tlsFileParameters],
  docs: 'docs/redis.md',
};

/**
 * Reads REDIS_URL, and the certificates that it names by `sslrootcert`, `sslcert` and `sslkey`. Throws
 * CONFIG_INVALID with what to do where anything in it has no meaning: ioredis would take what it does
 * not know for an option of its own, and text behind the host for a number. Never repeats a password.
 */
export function redisAddress(text: string): RedisAddress {
  const { url, parameters } = readStoreUrl(text, form);
  if (url.hostname === '') throw storeUrlRefusal(form, `names no host: it has the form ${form.form}`);
  const address: RedisAddress = {
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: url.port === '' ? 6_379 : Number(url.port),
    db: databaseOf(url.pathname),
  };
  if (url.username !== '') address.username = decoded(url.username);
  if (url.password !== '') address.password = decoded(url.password);
  const family = parameters.get('family');
  if (family === '4' || family === '6') address.family = family === '4' ? 4 : 6;
  else if (family !== undefined)
    throw storeUrlRefusal(form, 'has a family that is neither 4 nor 6: leave it out for either');
  if (url.protocol === 'rediss:') address.tls = readTlsFiles(form, parameters);
  const files = tlsFileParameters.find((name) => parameters.has(name));
  if (address.tls === undefined && files !== undefined)
    throw storeUrlRefusal(form, `names ${files}, but redis:// is not encrypted: write rediss://`);
  return address;
}

function databaseOf(path: string): number {
  const [whole, number = '0'] = /^(?:\/(\d{1,9})?)?$/.exec(path) ?? [];
  if (whole !== undefined) return Number(number);
  throw storeUrlRefusal(
    form,
    'has behind the port what is no database number: write /3 for database 3, or nothing for 0 (a / in a password is %2F)',
  );
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch (cause) {
    throw storeUrlRefusal(form, 'has a % in its user or password that begins no %XX: write %25', cause);
  }
}

/** `host:port/number`, for messages and logs. Throws as `redisAddress`. */
export function redisName(text: string): string {
  const { host, port, db } = redisAddress(text);
  return `${host.includes(':') ? `[${host}]` : host}:${port}/${db}`;
}

/** What a refused SELECT means to whoever set REDIS_URL; null where the server may take it later. */
export function databaseRefusal(message: string, db: number): string | null {
  if (/^NOPERM/.test(message))
    return `REDIS_URL names database ${db}, which this user may not select: ACL SETUSER … +select, or name none and keep installations apart by EMP_REDIS_PREFIX`;
  if (/DB index|not allowed in cluster mode|unknown command|unsupported|not supported/i.test(message))
    return `REDIS_URL names database ${db}, which the Redis server does not have: name one that it has (CONFIG GET databases), or none and keep installations apart by EMP_REDIS_PREFIX`;
  return null;
}
