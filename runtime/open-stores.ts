import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Broker } from '#protocol/broker.ts';
import { type Env, sleep } from '#protocol/env.ts';
import { EmpError, toEmpError } from '#protocol/errors.ts';
import type { JsonObject } from '#protocol/json.ts';
import { memoryBroker, memoryServer } from '#protocol/memory/memory-broker.ts';
import { type FolderObjects, folderObjects } from '#protocol/objects/folder.ts';
import type { Records } from '#protocol/records.ts';
import { openSqliteRecords } from '#protocol/sqlite/records.ts';
import type { StoreNames } from './hub/status.ts';
import type { HubConfig } from './hub-config.ts';

export interface OpenStores {
  records: Records;
  broker: Broker;
  objects: FolderObjects;
  names: StoreNames;
  /** Closes them in the reverse order of opening. Idempotent. */
  close(): Promise<void>;
}

/** Calls `fn` once the I/O of this turn is done: what is asked for meanwhile shares a commit, or a step of the Broker. */
export function nextTurn(fn: () => void): void {
  // biome-ignore lint/style/noRestrictedGlobals: a real process's turn of the event loop; a simulation opens its own store.
  setImmediate(fn);
}

/**
 * Opens the stores that the configuration names: Records in PostgreSQL or SQLite, the Broker in Redis
 * or memory, objects in a folder, and logs which they are. Records that do not answer are waited for up
 * to `startLimitMs`; a Redis that does not answer is not waited for: without it jobs are accepted, and
 * driven when it comes. What only a setting can put right is CONFIG_INVALID at once: both URLs are
 * judged before anything is waited for. What was opened is closed when a later step fails. Rejects with the
 * reason of `signal` when that aborts while it waits.
 */
export async function openStores(options: {
  config: HubConfig;
  env: Env;
  signal?: AbortSignal | undefined;
}): Promise<OpenStores> {
  const { config, env, signal } = options;
  const opened: (() => Promise<void>)[] = [];
  const close = async () => {
    for (const each of opened.splice(0).reverse()) await each();
  };
  try {
    const dir = await dataFolder(config, opened);
    const places = await placesOf(config, dir);
    const records = await answering({ config, env, signal, open: () => openRecords({ config, env, dir }) });
    opened.push(() => records.close());
    const broker = await openBroker({ config, env, owner: await ownerOf(config, records) });
    opened.push(() => broker.close());
    const secret = await records.secret('object-urls');
    const objects = folderObjects({ dir: join(dir, 'objects'), secret, clock: env.clock });
    opened.push(() => objects.close());
    env.log.info('stores.opened', places);
    return { records, broker, objects, names: namesOf(config, dir), close };
  } catch (error) {
    await close();
    throw error;
  }
}

function namesOf(config: HubConfig, dir: string): StoreNames {
  const kept = config.dataDir !== null;
  return {
    records: config.databaseUrl === null ? 'sqlite' : 'postgresql',
    broker: config.redisUrl === null ? 'memory' : 'redis',
    objects: 'folder',
    durable: kept,
    dataDir: kept ? dir : null,
  };
}

/** Where the stores are, for the log: never a user or a password. Throws CONFIG_INVALID for a URL that cannot be used. */
async function placesOf(config: HubConfig, dir: string): Promise<JsonObject> {
  const places: JsonObject = {
    records: `sqlite ${join(dir, 'records.sqlite')}`,
    broker: 'memory',
    objects: join(dir, 'objects'),
  };
  if (config.databaseUrl !== null) {
    const { postgresTarget } = await import('#protocol/postgres/postgres-url.ts');
    places.records = `postgresql ${postgresTarget(config.databaseUrl).store}`;
  }
  if (config.redisUrl !== null) {
    const { redisName } = await import('#protocol/redis/redis-url.ts');
    places.broker = `redis ${redisName(config.redisUrl)}, keys {${config.redisPrefix}:0}`;
  }
  return places;
}

async function openRecords(options: { config: HubConfig; env: Env; dir: string }): Promise<Records> {
  const { config, env, dir } = options;
  const { clock, rng, log } = env;
  if (config.databaseUrl === null) {
    return await openSqliteRecords({ path: join(dir, 'records.sqlite'), clock, rng, nextTurn });
  }
  // Loaded where it is used: the embedded stores start without it.
  const { openPostgresRecords } = await import('#protocol/postgres/records.ts');
  const { databaseUrl: url, databasePoolLimit: poolLimit } = config;
  const statementLimitMs = config.databaseStatementLimitMs;
  return await openPostgresRecords({ url, poolLimit, statementLimitMs, clock, rng, log });
}

/**
 * What hubs of these records call them where others may look: no two stores have one name, a copy has that of its
 * original. Temporary records share one: the queue of the start before is taken over, that of kept records is not.
 */
async function ownerOf(config: HubConfig, records: Records): Promise<string> {
  if (config.dataDir === null && config.databaseUrl === null) return 'temporary';
  const secret = await records.secret('installation');
  return createHash('sha256').update(secret).digest('hex').slice(0, 16);
}

async function openBroker(options: { config: HubConfig; env: Env; owner: string }): Promise<Broker> {
  const { config, env, owner } = options;
  const { leaseTtlMs, priorityBoostMs } = config;
  const settings = { leaseTtlMs, priorityBoostMs };
  if (config.redisUrl === null) {
    return memoryBroker(memoryServer({ settings, clock: env.clock, name: env.newId('broker') }));
  }
  const { openRedisBroker } = await import('#protocol/redis/redis-broker.ts');
  const { redisUrl, redisPrefix: prefix, redisProtocol: protocol, redisDeadlineMs: deadlineMs } = config;
  let isThere = true;
  const broker = await openRedisBroker({
    url: redisUrl,
    settings,
    clock: env.clock,
    prefix,
    owner,
    protocol,
    loader: config.redisLoader,
    allowUnknownEviction: config.redisAllowUnknownEviction,
    deadlineMs,
    unreachable: (detail) => {
      isThere = false;
      env.log.warn('broker.unreachable', { detail });
    },
  });
  if (!isThere) return broker;
  try {
    const { checkRights } = await import('#protocol/redis/rights.ts');
    await checkRights({ target: redisUrl, prefix, protocol, deadlineMs });
    return broker;
  } catch (error) {
    await broker.close();
    throw error;
  }
}

/** First wait before Records are asked again, ms; doubles up to `retryLimitMs`. */
const retryMs = 250;
const retryLimitMs = 5_000;

/** Tries `open` until it does not fail with what may pass by waiting, or `startLimitMs` is over. */
async function answering<T>(options: {
  config: HubConfig;
  env: Env;
  signal: AbortSignal | undefined;
  open: () => Promise<T>;
}): Promise<T> {
  const { config, env, signal, open } = options;
  const { clock, log } = env;
  const untilMs = clock.monotonic() + config.startLimitMs;
  for (let waitMs = retryMs; ; waitMs = Math.min(retryLimitMs, waitMs * 2)) {
    try {
      return await open();
    } catch (error) {
      const failure = toEmpError(error);
      const leftMs = untilMs - clock.monotonic();
      if (failure.code !== 'RECORDS_UNAVAILABLE' || !failure.retryable || leftMs <= 0) throw failure;
      log.warn('records.waiting', { detail: failure.message, leftMs: Math.round(leftMs) });
      await sleep(clock, Math.min(waitMs, leftMs), signal);
    }
  }
}

async function dataFolder(config: HubConfig, opened: (() => Promise<void>)[]): Promise<string> {
  if (config.dataDir === null) {
    const dir = await mkdtemp(join(tmpdir(), 'emp-hub-'));
    opened.push(() => rm(dir, { recursive: true, force: true }));
    return dir;
  }
  const dir = resolve(config.dataDir);
  try {
    await mkdir(dir, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new EmpError('CONFIG_INVALID', {
      detail: `The data folder ${dir} cannot be made: ${(error as Error).message}. Choose another with --data`,
      cause: error,
    });
  }
  return dir;
}
