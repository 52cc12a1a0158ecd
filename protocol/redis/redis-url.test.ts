import { join } from 'node:path';
import { expect, test } from 'vitest';
import { plantTree } from '#runtime/toolchain/planted-tree.ts';
import { testCertificate } from '#runtime/toolchain/test-certificates.ts';
import { redisAddress, redisName } from './redis-url.ts';

const refused = (part: string) =>
  expect.objectContaining({
    code: 'CONFIG_INVALID',
    message: expect.stringMatching(new RegExp(`^REDIS_URL ${part}.*; see docs/redis.md$`)),
  });

test('a URL names host, port, database, user and password', () => {
  expect(redisAddress('redis://user:s%40cret@redis.internal:7000/12')).toEqual({
    host: 'redis.internal',
    port: 7000,
    db: 12,
    username: 'user',
    password: 's@cret',
  });
});

test('port 6379, database 0 and nobody in particular are meant where a URL does not say', () => {
  for (const url of ['redis://host', 'redis://host/', 'redis://host/0', 'redis://host:6379'])
    expect(redisAddress(url)).toEqual({ host: 'host', port: 6379, db: 0 });
  expect(redisAddress('redis://:secret@host')).toMatchObject({ password: 'secret' });
});

test('an IPv6 address loses its brackets for the socket and keeps them in the name', () => {
  expect(redisAddress('redis://[::1]:7000/1')).toMatchObject({ host: '::1', port: 7000 });
  expect(redisName('redis://:secret@[::1]:7000/1')).toBe('[::1]:7000/1');
});

test('rediss:// is TLS with the authorities of Node, however it is spelled', () => {
  // ioredis would speak without TLS to the second.
  for (const url of ['rediss://host:1', 'REDISS://host:1']) expect(redisAddress(url).tls).toEqual({});
});

test.each([
  ['redis://host/abc', 'has behind the port what is no database number: write /3'],
  ['redis://host/1/2', 'has behind the port what is no database number'],
  ['redis://host/-1', 'has behind the port what is no database number'],
  [
    'redis://host:1?bogus=1',
    'has the parameter bogus, which is not known here: take it out. Known are family',
  ],
  ['redis://host:1/?db=3', 'has the parameter db'],
  ['redis://host:1?keyPrefix=x', 'has the parameter keyPrefix'],
  ['redis://host:1?family=5', 'has a family that is neither 4 nor 6'],
  ['redis://host:1?family=4&family=6', 'names family twice'],
  ['redis://host:1?family=', 'names family without a value'],
  [
    'redis://host:1/?sslrootcert=/etc/ca.pem',
    'names sslrootcert, but redis:// is not encrypted: write rediss',
  ],
  ['redis://', 'names no host'],
  ['redis:///3', 'names no host'],
  ['host:6379', 'has the form redis://HOST:PORT'],
  ['/run/redis.sock', 'has the form redis://HOST:PORT'],
  ['', 'has the form redis://HOST:PORT'],
])('%s is refused, and told what to do', (url, part) => {
  expect(() => redisAddress(url)).toThrow(refused(part));
});

test.each([
  ['redis://user:sec#ret@host:1', 'has a #'],
  ['redis://user:12#secret@host:1', 'has a #'],
  ['redis://user:12?secret@host:1', 'has a \\? and behind it no parameter'],
  ['redis://user:12/secret@host:1', 'has behind the port what is no database number'],
  ['redis://user:100%secret@host:1', 'has a %'],
  ['redis://user:secret@host:1/x', 'has behind the port'],
])('what was not escaped is refused without repeating the password: %s', (url, part) => {
  expect(() => redisAddress(url)).toThrow(refused(part));
  expect(() => redisAddress(url)).not.toThrow(/sec|ret/);
});

test('files that the URL names are read', () => {
  const { cert, key } = testCertificate({ name: 'hub', hosts: [] }, testCertificate({ name: 'ca' }));
  using tree = plantTree({ 'ca.pem': cert, 'client.pem': cert, 'client.key': key });
  const at = (name: string) => encodeURIComponent(join(tree.root, name));
  const url = `rediss://host:1/?family=6&sslrootcert=${at('ca.pem')}&sslcert=${at('client.pem')}&sslkey=${at('client.key')}`;
  expect(redisAddress(url)).toEqual({
    host: 'host',
    port: 1,
    db: 0,
    family: 6,
    tls: { ca: cert, cert, key },
  });
});
