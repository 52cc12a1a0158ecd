import { join } from 'node:path';
import { expect, test } from 'vitest';
import { plantTree } from '#runtime/toolchain/planted-tree.ts';
import { testCertificate } from '#runtime/toolchain/test-certificates.ts';
import { postgresTarget } from './postgres-url.ts';

const refused = (part: string) =>
  expect.objectContaining({
    code: 'CONFIG_INVALID',
    message: expect.stringMatching(new RegExp(`^DATABASE_URL ${part}.*; see docs/postgres.md$`)),
  });

test('a URL without parameters goes to the driver as it is, and is named without user and password', () => {
  expect(postgresTarget('postgresql://emp:s%40cret@db.internal:5433/emp')).toEqual({
    store: 'db.internal:5433/emp',
    config: { connectionString: 'postgresql://emp:s%40cret@db.internal:5433/emp' },
  });
  expect(postgresTarget('postgres://emp@db.internal/emp').store).toBe('db.internal/emp');
});

test('a Unix socket is given by host, and what else is known goes on to the driver', () => {
  const { store, config } = postgresTarget(
    'postgresql://emp@localhost/emp?host=/run/postgresql&port=5433&application_name=hub&options=-c%20geqo%3Doff',
  );
  expect(store).toBe('/run/postgresql:5433/emp');
  expect(Object.fromEntries(new URL(config.connectionString).searchParams)).toEqual({
    host: '/run/postgresql',
    port: '5433',
    application_name: 'hub',
    options: '-c geqo=off',
  });
  expect(config).not.toHaveProperty('ssl');
});

test('each sslmode says what is checked, and no parameter of TLS is left to the driver', () => {
  const { cert, key } = testCertificate({ name: 'hub', hosts: [] }, testCertificate({ name: 'ca' }));
  using tree = plantTree({ 'ca.pem': cert, cert, key });
  const at = (name: string) => encodeURIComponent(join(tree.root, name));
  const sslOf = (query: string) => {
    const { config } = postgresTarget(`postgresql://emp@db/emp?${query}`);
    expect(config.connectionString).toBe('postgresql://emp@db/emp');
    return config.ssl;
  };
  const ca = `sslrootcert=${at('ca.pem')}`;
  expect(sslOf('sslmode=disable')).toBe(false);
  for (const mode of ['require', 'verify-full']) {
    expect(sslOf(`sslmode=${mode}`)).toEqual({});
    expect(sslOf(`sslmode=${mode}&${ca}&sslcert=${at('cert')}&sslkey=${at('key')}`)).toEqual({
      ca: cert,
      cert,
      key,
    });
  }
  expect(sslOf(ca)).toEqual({ ca: cert });
  expect(sslOf(`sslmode=verify-ca&${ca}`)).toEqual({ ca: cert, checkServerIdentity: expect.any(Function) });
  expect(sslOf('sslmode=no-verify')).toEqual({ rejectUnauthorized: false });
});

test.each([
  [
    'postgresql://db/emp?bogus=1',
    'has the parameter bogus, which is not known here: take it out. Known are sslmode',
  ],
  ['postgresql://db/emp?statement_timeout=1', 'has the parameter statement_timeout'],
  ['postgresql://db/emp?ssl=true', 'has the parameter ssl, .* Known are sslmode'],
  ['postgresql://db/emp?channel_binding=require', 'has the parameter channel_binding'],
  ['postgresql://db/emp?uselibpqcompat=true&sslmode=require', 'has the parameter uselibpqcompat'],
  [
    'postgresql://db/emp&sslmode=verify-full',
    'has & or = in the name of the database: parameters begin with \\?',
  ],
  ['postgresql://db/emp;sslmode=require', 'has & or = in the name of the database'],
  ['postgresql://db/emp?sslmode=prefer', 'has sslmode=prefer, which goes on without TLS'],
  ['postgresql://db/emp?sslmode=allow', 'has sslmode=allow'],
  ['postgresql://db/emp?sslmode=verfy-full', 'has an sslmode that is none of disable'],
  ['postgresql://db/emp?sslmode=verify-ca', 'has sslmode=verify-ca, which needs the CA'],
  [
    'postgresql://db/emp?sslmode=disable&sslrootcert=/ca',
    'names sslrootcert, but sslmode=disable encrypts nothing',
  ],
  [
    'postgresql://db/emp?sslmode=no-verify&sslrootcert=/ca',
    'names sslrootcert, but sslmode=no-verify checks no',
  ],
  [
    'postgresql://db/emp?sslrootcert=/nowhere/ca.pem',
    "names a file by sslrootcert that cannot be read: ENOENT: no such file or directory, open '/nowhere/ca.pem'",
  ],
  ['postgresql://db/emp?sslcert=/nowhere/cert.pem', 'names a file by sslcert that cannot be read'],
  ['http://db/emp', 'has the form postgresql://'],
  ['/run/postgresql emp', 'has the form postgresql://'],
])('%s is refused, and told what to do', (url, part) => {
  expect(() => postgresTarget(url)).toThrow(refused(part));
});

test.each([
  'postgresql://emp:sec#ret@db/emp',
  'postgresql://emp:12#secret@db/emp',
  'postgresql://emp:12?secret@db/emp',
  'postgresql://emp:12/secret@db/emp',
  'postgresql://emp:12/secret/db/emp',
])('what was not escaped is refused without repeating the password: %s', (url) => {
  expect(() => postgresTarget(url)).toThrow(refused('has'));
  expect(() => postgresTarget(url)).not.toThrow(/sec|ret/);
});
