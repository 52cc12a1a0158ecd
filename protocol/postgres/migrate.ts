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
import { driverFailure } from './failures.ts';

/** Brings a store to the newest form, and refuses a server on which nothing we promise would hold. */

export const migrationsFolder = join(import.meta.dirname, 'migrations');

/** Oldest server we are tested with. */
const oldestServer = 150_000;
/** Hubs that open a store together take turns by this number: `EMPR`. */
const advisoryLock = 0x454d5052;

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
  version: string;
  encoding: string;
  commits: string;
  standby: boolean;
}

const settings = `SELECT current_setting('server_version_num') AS version, current_setting('server_encoding') AS encoding,
  current_setting('synchronous_commit') AS commits, pg_is_in_recovery() AS standby`;

function checkSettings(store: string, { version, encoding, commits, standby }: Settings): void {
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
  await client.query('BEGIN');
  await client.query('SELECT pg_advisory_xact_lock($1)', [advisoryLock]);
  const [tables] = (await client.query(strangers)).rows;
  if (tables.all > 0 && tables.ours === 0)
    refuse(`The schema emp of ${options.store} belongs to another program. Use another database.`);
  if (tables.ours === 0) {
    await client.query('CREATE SCHEMA IF NOT EXISTS emp');
    await client.query(historyTable);
  }
  const applied = await client.query(
    'SELECT number, name, sha256 FROM emp.schema_migrations ORDER BY number',
  );
  for (const ahead of migrationsAhead(options.store, applied.rows as AppliedMigration[], known)) {
    await client.query(ahead.sql);
    const { number, name, sha256 } = ahead;
    await client.query(
      'INSERT INTO emp.schema_migrations (number, name, sha256, applied_at_ms) VALUES ($1, $2, $3, $4)',
      [number, name, sha256, options.nowMs],
    );
  }
  await client.query('COMMIT');
}

/**
 * All that is missing in one transaction, under an advisory lock. Throws `CONFIG_INVALID` where the
 * store or the server is not what we can work with, `RECORDS_UNAVAILABLE` where it does not answer.
 */
export async function migrate(options: {
  url: string;
  store: string;
  folder: string;
  connectLimitMs: number;
  nowMs: number;
}): Promise<void> {
  const client = new pg.Client({
    connectionString: options.url,
    connectionTimeoutMillis: options.connectLimitMs,
    application_name: 'emp migrations',
    keepAlive: true,
  });
  // Whoever waits for an answer is told by that answer; this is the same news again.
  client.on('error', () => undefined);
  try {
    await client.connect();
    await migrateWith(client, options);
  } catch (error) {
    throw error instanceof EmpError ? error : driverFailure(error, options.store);
  } finally {
    // Takes back what was not committed.
    await client.end();
  }
}
