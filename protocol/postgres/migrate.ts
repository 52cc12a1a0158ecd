import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { EmpError } from '#protocol/errors.ts';
import {
  type AppliedMigration,
  checkExpandThenContract,
  type Migration,
  migrationsAhead,
  numberedMigrations,
} from '#protocol/migrations.ts';
import { driverFailure, openingFailure } from './failures.ts';
import type { PostgresTarget } from './postgres-url.ts';

/** Brings a store to the newest form, and refuses a server on which nothing we promise would hold. */

export const migrationsFolder = join(import.meta.dirname, 'migrations');

/** Oldest server we are tested with. */
const oldestServer = 150_000;
/** Hubs that open a store together take turns by this number: `EMPR`. */
const advisoryLock = 0x454d5052;

/** Longest single migration, ms. */
const migrationLimitMs = 3_600_000;

const historyTable = `CREATE TABLE IF NOT EXISTS emp.schema_migrations (
  number integer PRIMARY KEY, name text NOT NULL, sha256 text NOT NULL, applied_at_ms double precision NOT NULL)`;

function refuse(detail: string): never {
  throw new EmpError('CONFIG_INVALID', { detail });
}

export function readMigrations(folder: string): Migration[] {
  const names = readdirSync(folder).filter((name) => name.endsWith('.sql'));
  const files = names.map((name) => ({ name, sql: readFileSync(join(folder, name), 'utf8') }));
  const migrations = numberedMigrations(folder, files);
  checkExpandThenContract(migrations);
  return migrations;
}

interface Settings {
  /** Of all commits, whoever makes them. */
  fsync: string;
  /** Set by servers of tests, whose data nobody needs after a crash. */
  disposable: string | null;
  version: string;
  encoding: string;
  commits: string;
  standby: boolean;
}

const settings = `SELECT current_setting('server_version_num') AS version, current_setting('server_encoding') AS encoding,
  current_setting('synchronous_commit') AS commits, current_setting('fsync') AS fsync,
  current_setting('emp.disposable', true) AS disposable, pg_is_in_recovery() AS standby`;

function checkSettings(store: string, server: Settings): void {
  const { version, encoding, commits, fsync, disposable, standby } = server;
  if (Number(version) < oldestServer)
    refuse(
      `The record store ${store} runs on PostgreSQL ${Math.floor(Number(version) / 10_000)}; 15 or later is needed.`,
    );
  if (encoding !== 'UTF8')
    refuse(`The database ${store} has the encoding ${encoding}. Create it with ENCODING 'UTF8'.`);
  if (commits === 'off')
    refuse(
      `The record store ${store} answers commits before they are on disk (synchronous_commit = off): jobs that were accepted could be lost. Set it to on for this user or database.`,
    );
  if (fsync === 'off' && disposable !== 'on')
    refuse(
      `The server of ${store} does not wait for its disk (fsync = off): a crash could damage the store. Set fsync to on; a server whose data is worth nothing says so by emp.disposable = on.`,
    );
  if (standby) {
    const detail = `The record store ${store} is a standby. Point DATABASE_URL at the primary.`;
    throw new EmpError('RECORDS_UNAVAILABLE', { detail });
  }
}

/** Tables in our schema that no history of ours explains. */
const strangers = `SELECT count(*) FILTER (WHERE tablename = 'schema_migrations')::int AS ours, count(*)::int AS all
  FROM pg_tables WHERE schemaname = 'emp'`;

async function migrateWith(
  client: pg.Client,
  options: { store: string; folder: string; nowMs: number },
): Promise<void> {
  const known = readMigrations(options.folder);
  const { rows } = await client.query(settings);
  checkSettings(options.store, rows[0]);
  // Nearly every start: nothing to do, and nobody to wait for.
  if ((await missing(client, { ...options, known }))?.length === 0) return;
  await client.query('BEGIN');
  await client.query('SELECT pg_advisory_xact_lock($1)', [advisoryLock]);
  let ahead = await missing(client, { ...options, known });
  if (ahead === null) {
    await client.query('CREATE SCHEMA IF NOT EXISTS emp');
    await client.query(historyTable);
    ahead = migrationsAhead(options.store, [], known);
  }
  await applyAll(client, { ...options, ahead });
  await client.query('COMMIT');
}

/** What is not applied yet; null where there is no history. */
async function missing(
  client: pg.Client,
  options: { store: string; known: Migration[] },
): Promise<Migration[] | null> {
  const [tables] = (await client.query(strangers)).rows;
  if (tables.all > 0 && tables.ours === 0)
    refuse(`The schema emp of ${options.store} belongs to another program. Use another database.`);
  if (tables.ours === 0) return null;
  const applied = await client.query(
    'SELECT number, name, sha256 FROM emp.schema_migrations ORDER BY number',
  );
  return migrationsAhead(options.store, applied.rows as AppliedMigration[], options.known);
}

async function applyAll(client: pg.Client, options: { ahead: Migration[]; nowMs: number }): Promise<void> {
  for (const ahead of options.ahead) {
    // May rewrite a large table: this alone has no deadline of a minute.
    await client.query({ text: ahead.sql, query_timeout: migrationLimitMs } as pg.QueryConfig);
    const { number, name, sha256 } = ahead;
    await client.query(
      'INSERT INTO emp.schema_migrations (number, name, sha256, applied_at_ms) VALUES ($1, $2, $3, $4)',
      [number, name, sha256, options.nowMs],
    );
  }
}

/**
 * All that is missing in one transaction, under an advisory lock. Throws `CONFIG_INVALID` where the
 * store or the server is not what we can work with, `RECORDS_UNAVAILABLE` where it does not answer.
 */
export async function migrate(options: {
  target: PostgresTarget;
  folder: string;
  connectLimitMs: number;
  nowMs: number;
  /** Longest wait for one answer, ms (30 000); of the lock half of it. */
  queryLimitMs?: number;
}): Promise<void> {
  const queryLimitMs = options.queryLimitMs ?? 30_000;
  const { store } = options.target;
  const client = new pg.Client({
    ...options.target.config,
    connectionTimeoutMillis: options.connectLimitMs,
    application_name: 'emp migrations',
    keepAlive: true,
    // A server may take the login and then say nothing, or another hub may be frozen with the lock.
    query_timeout: queryLimitMs,
    lock_timeout: queryLimitMs / 2,
  });
  // Whoever waits for an answer is told by that answer; this is the same news again.
  client.on('error', () => undefined);
  try {
    await client.connect();
    await migrateWith(client, { ...options, store });
  } catch (error) {
    throw error instanceof EmpError ? error : openingFailure(driverFailure(error, store));
  } finally {
    // Takes back what was not committed.
    await client.end();
  }
}
