import { chownSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { quietEnv } from '#runtime/quiet-client.ts';
import { type PostgresServer, startPostgres } from '#runtime/toolchain/postgres-server.ts';
import { testCertificate } from '#runtime/toolchain/test-certificates.ts';
import { openPostgresRecords } from './records.ts';

/** What is wrong between DATABASE_URL and the settings of a server, each on a real one. */

let server: PostgresServer;
let url: string;

const open = (at: string) => openPostgresRecords({ url: at, poolLimit: 5, ...quietEnv() });
const nameOf = (at: string) => new URL(at).pathname.slice(1);

const refused = (text: string) => ({
  code: 'CONFIG_INVALID',
  retryable: false,
  message: expect.stringContaining(text),
});

beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => server.close());
beforeEach(async () => {
  url = await server.database();
});

/** In the server's folder, for its user alone: PostgreSQL refuses a key that others can read. */
function fileOf(name: string, text: string): string {
  const path = join(server.folder, name);
  writeFileSync(path, text, { mode: 0o600 });
  const { uid, gid } = statSync(server.folder);
  chownSync(path, uid, gid);
  return path;
}

test('user, password, database, TLS and rights that are wrong are settings to correct when the store is opened', async () => {
  await server.query("CREATE ROLE guest LOGIN PASSWORD 'right'");
  const rules = join(server.folder, 'data', 'pg_hba.conf');
  const before = readFileSync(rules, 'utf8');
  const obey = async (first: string) => {
    writeFileSync(rules, `${first}\n${before}`);
    await server.query('SELECT pg_reload_conf()');
  };
  const as = (user: string, database = nameOf(url)) =>
    `postgresql://${user}@127.0.0.1:${server.port}/${database}`;
  const failureOf = (at: string): Promise<unknown> => open(at).then(String, (error: unknown) => error);
  await obey('host all guest 127.0.0.1/32 scram-sha-256');
  await expect
    .poll(() => failureOf(as('guest:wrong')))
    .toMatchObject(refused('refuses this user or password. Correct DATABASE_URL'));
  expect(String(await failureOf(as('guest:wrong')))).not.toMatch(/guest|wrong/);
  expect(await failureOf(as('guest:right'))).toMatchObject(refused('Grant it CREATE on the database'));
  expect(await failureOf(as('nobody'))).toMatchObject(refused('refuses this user'));
  expect(await failureOf(as('postgres', 'missing'))).toMatchObject(refused('has no such database'));
  expect(await failureOf(`${url}?sslmode=require`)).toMatchObject(refused('has no TLS: set ssl = on'));
  await obey('host all guest 127.0.0.1/32 reject');
  await expect
    .poll(() => failureOf(as('guest:right')))
    .toMatchObject(refused('It may want TLS: ?sslmode=verify-full'));
  await obey('');
});

test('a user who is shut out while he is served is told so, and served again when he may', async () => {
  await server.query(`CREATE ROLE late LOGIN SUPERUSER; ALTER DATABASE ${nameOf(url)} OWNER TO late`);
  const store = await open(url.replace('postgres@', 'late@'));
  await server.query('ALTER ROLE late NOLOGIN');
  await server.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'late'");
  await expect
    .poll(() => store.ping().catch((error: unknown) => error))
    .toMatchObject({
      code: 'RECORDS_UNAVAILABLE',
      retryable: false,
      message: expect.stringContaining('refuses this user'),
    });
  await server.query('ALTER ROLE late LOGIN');
  await store.ping();
  await store.close();
});

test('each sslmode encrypts and checks what it says, and the driver warns of nothing', async () => {
  const authority = testCertificate({ name: 'authority' });
  const stranger = testCertificate({ name: 'stranger' });
  const { cert, key } = testCertificate({ name: 'postgres', hosts: ['127.0.0.1'] }, authority);
  const [ca, otherCa] = [fileOf('ca.crt', authority.cert), fileOf('other.crt', stranger.cert)];
  await server.query(`ALTER SYSTEM SET ssl_cert_file = '${fileOf('server.crt', cert)}'`);
  await server.query(`ALTER SYSTEM SET ssl_key_file = '${fileOf('server.key', key)}'`);
  await server.query('ALTER SYSTEM SET ssl = on');
  await server.stop();
  await server.start();
  const warnings: string[] = [];
  const onWarning = (warning: Error) => warnings.push(warning.message);
  process.on('warning', onWarning);
  const encrypted = `SELECT bool_and(ssl) AS all FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'emp'`;
  const serves = async (parameters: string, host = '127.0.0.1') => {
    const store = await open(url.replace('127.0.0.1', host) + parameters);
    await store.ping();
    const [row] = await server.query(encrypted);
    await store.close();
    return row?.['all'];
  };
  const checking = ['require', 'verify-ca', 'verify-full'];
  for (const mode of checking) expect(await serves(`?sslmode=${mode}&sslrootcert=${ca}`), mode).toBe(true);
  expect(await serves(`?sslrootcert=${ca}`)).toBe(true);
  expect(await serves('?sslmode=no-verify')).toBe(true);
  expect(await serves('?sslmode=disable')).toBe(false);
  // The same server by a name that is not in its certificate.
  expect(await serves(`?sslmode=verify-ca&sslrootcert=${ca}`, 'localhost')).toBe(true);
  for (const mode of ['require', 'verify-full'])
    await expect(serves(`?sslmode=${mode}&sslrootcert=${ca}`, 'localhost')).rejects.toMatchObject(
      refused('has a certificate for another host'),
    );
  for (const parameters of [
    '?sslmode=require',
    ...checking.map((mode) => `?sslmode=${mode}&sslrootcert=${otherCa}`),
  ])
    await expect(serves(parameters), parameters).rejects.toMatchObject(refused('name the file of its CA'));
  process.off('warning', onWarning);
  expect(warnings).toEqual([]);
});
