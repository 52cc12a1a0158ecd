import { cpSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { hubOn } from '#protocol/records-fixture.conformance.ts';
import { quietEnv } from '#runtime/quiet-client.ts';
import { type PostgresServer, startPostgres } from '#runtime/toolchain/postgres-server.ts';
import { migrate, migrationsFolder } from './migrate.ts';
import { postgresTarget } from './postgres-url.ts';
import { openPostgresRecords, type PostgresRecordsOptions } from './records.ts';

/** How a store is made and brought up to date, and which are refused. */

let server: PostgresServer;
let url: string;
let folder: string;
beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => server.close());
beforeEach(async () => {
  url = await server.database();
  folder = mkdtempSync(join(tmpdir(), 'emp-migrations-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const open = (over: Partial<PostgresRecordsOptions> = {}) =>
  openPostgresRecords({ url, poolLimit: 4, ...quietEnv(), ...over });
const query = (text: string) => server.query(text, new URL(url).pathname.slice(1));

const numbered = (after: number) => String(readdirSync(migrationsFolder).length + after).padStart(4, '0');
const next = numbered(1);

/** Ours, with an extra migration at the end. */
function upgraded(sql: string, name = 'more'): string {
  const copy = join(folder, 'migrations');
  cpSync(migrationsFolder, copy, { recursive: true });
  writeFileSync(join(copy, `${next}_${name}.sql`), sql);
  return copy;
}

describe('migrations', () => {
  test('many hubs that open an empty database at once all get the same store', async () => {
    const stores = await Promise.all(Array.from({ length: 6 }, () => open()));
    const id = await hubOn(stores[0]!).submit();
    for (const store of stores) expect(await store.getJob(id)).toMatchObject({ id });
    for (const store of stores) await store.close();
    expect(await query('SELECT count(*)::int AS n FROM emp.schema_migrations')).toEqual([
      { n: readdirSync(migrationsFolder).length },
    ]);
  });

  test('an upgrade keeps what is there, is applied once, and a hub of the version before works on', async () => {
    const before = await open();
    const id = await hubOn(before).submit();
    const migrations = upgraded('CREATE TABLE emp.more (n integer); INSERT INTO emp.more VALUES (1);');
    for (const _ of [1, 2]) {
      const after = await open({ migrations });
      expect(await after.getJob(id)).toMatchObject({ id });
      await after.close();
    }
    expect(await query('SELECT n FROM emp.more')).toEqual([{ n: 1 }]);
    expect(await hubOn(before).complete(id, '7')).toMatchObject({ kind: 'committed' });
    await before.close();
  });

  test('a store that a newer version wrote is refused and left as it is', async () => {
    const migrations = upgraded('CREATE TABLE emp.more (n integer);');
    await (await open({ migrations })).close();
    await expect(open()).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining(`newer version of emp (migration ${next}_more.sql)`),
    });
    await (await open({ migrations })).close();
  });

  test('an edited migration is refused by name', async () => {
    const migrations = upgraded('CREATE TABLE emp.more (n integer);');
    await (await open({ migrations })).close();
    writeFileSync(join(migrations, `${next}_more.sql`), 'CREATE TABLE emp.more (n integer, m integer);');
    await expect(open({ migrations })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining(`${next}_more.sql`),
    });
  });

  test('a migration that fails half-way leaves the store in its old form', async () => {
    await (await open()).close();
    const migrations = upgraded('CREATE TABLE emp.half (n integer); CREATE TABLE emp.jobs (n integer);');
    await expect(open({ migrations })).rejects.toMatchObject({
      message: expect.stringContaining('already exists'),
    });
    expect(await query("SELECT to_regclass('emp.half') AS half")).toEqual([{ half: null }]);
    const old = await open();
    await old.ping();
    await old.close();
  });

  test('a migration with a gap in its number is refused', async () => {
    const migrations = upgraded('SELECT 1;');
    cpSync(join(migrations, `${next}_more.sql`), join(migrations, `${numbered(3)}_gap.sql`));
    await expect(open({ migrations })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining(`${numbered(3)}_gap.sql`),
    });
  });

  test.each([
    'ALTER TABLE emp.jobs DROP COLUMN reason;',
    'ALTER TABLE emp.jobs RENAME COLUMN pool TO lane;',
    'ALTER TABLE emp.jobs ALTER COLUMN reason SET NOT NULL;',
    'ALTER TABLE emp.jobs ALTER COLUMN runs TYPE bigint;',
  ])('what takes away says so in its name: %s', async (sql) => {
    await expect(open({ migrations: upgraded(sql) })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining('NNNN_contract_what.sql'),
    });
    expect(await query("SELECT to_regclass('emp.jobs') AS jobs")).toEqual([{ jobs: null }]);
    rmSync(join(folder, 'migrations'), { recursive: true });
    await (
      await open({
        migrations: upgraded(sql.replace('DROP COLUMN reason', 'DROP COLUMN fingerprint'), 'contract_more'),
      })
    ).close();
  });
});

describe('a server that cannot be used', () => {
  test('a schema of another program is refused and left as it is', async () => {
    await query('CREATE SCHEMA emp; CREATE TABLE emp.bookmarks (url text)');
    await expect(open()).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining('another program'),
    });
    expect(await query("SELECT tablename FROM pg_tables WHERE schemaname = 'emp'")).toEqual([
      { tablename: 'bookmarks' },
    ]);
  });

  test('a hub that stands still with the lock holds up only those that have something to migrate', async () => {
    await (await open()).close();
    const holder = new pg.Client({ connectionString: url });
    await holder.connect();
    await holder.query('BEGIN; SELECT pg_advisory_xact_lock(1162694738)');
    const options = { target: postgresTarget(url), connectLimitMs: 5_000, nowMs: 1, queryLimitMs: 100 };
    await migrate({ ...options, folder: migrationsFolder });
    const folder = upgraded('CREATE TABLE emp.more (n integer);');
    await expect(migrate({ ...options, folder })).rejects.toMatchObject({ code: 'RECORDS_UNAVAILABLE' });
    await holder.query('ROLLBACK');
    await migrate({ ...options, folder });
    await holder.end();
  });

  test('a server that does not wait for its disk is refused, unless it says that its data is worth nothing', async () => {
    const careless = await startPostgres({ settings: { 'emp.disposable': 'off' } });
    try {
      const refused = openPostgresRecords({ url: await careless.database(), poolLimit: 4, ...quietEnv() });
      await expect(refused).rejects.toMatchObject({
        code: 'CONFIG_INVALID',
        message: expect.stringContaining('fsync = off'),
      });
    } finally {
      await careless.close();
    }
  });

  test('T19: a server that answers before the commit is on disk is refused', async () => {
    const name = new URL(url).pathname.slice(1);
    await server.query(`ALTER DATABASE ${name} SET synchronous_commit = off`);
    await expect(open()).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining('synchronous_commit = off'),
    });
  });

  test('a database without unicode is refused', async () => {
    await server.query("CREATE DATABASE ascii ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0");
    url = server.url('ascii');
    await expect(open()).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining("ENCODING 'UTF8'"),
    });
  });

  test('a user without the right to make a schema is told which right it needs', async () => {
    await server.query('CREATE ROLE guest LOGIN');
    await expect(open({ url: url.replace('postgres@', 'guest@') })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      retryable: false,
      message: expect.stringContaining('Grant it CREATE on the database'),
    });
  });

  test.each([
    ['an unknown database', { database: 'nowhere' }, false, 'no such database'],
    ['an unknown user', { user: 'nobody:secret@' }, false, 'refuses this user'],
    ['a port where nobody listens', { port: 1 }, true, 'does not answer'],
  ])('%s is told with what to do, without the password', async (_, over, retryable, text) => {
    const {
      database = 'postgres',
      user = 'postgres:secret@',
      port = server.port,
    } = over as {
      database?: string;
      user?: string;
      port?: number;
    };
    const refused = await open({ url: `postgresql://${user}127.0.0.1:${port}/${database}` }).catch((e) => e);
    const code = retryable ? 'RECORDS_UNAVAILABLE' : 'CONFIG_INVALID';
    expect(refused).toMatchObject({ code, retryable });
    expect(refused.message).toContain(text);
    expect(refused.message).not.toContain('secret');
  });

  test.each(['', 'localhost/db', 'mysql://u:secret@h/db', 'postgresql://'])(
    'the URL %j is refused by its form',
    async (wrong) => {
      const refused = await open({ url: wrong, connectLimitMs: 500 }).catch((e) => e);
      expect(['CONFIG_INVALID', 'RECORDS_UNAVAILABLE']).toContain(refused.code);
      expect(refused.message).not.toContain('secret');
    },
  );

  test.each([
    ['poolLimit', 3],
    ['poolLimit', 4.5],
    ['connectLimitMs', 0],
    ['statementLimitMs', Number.NaN],
    ['lockLimitMs', 9_999_999],
  ])('%s %d is refused by name', async (name, value) => {
    await expect(open({ [name]: value })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      errors: [{ pointer: `/${name}` }],
    });
  });
});
