import { join } from 'node:path';
import { expect, test } from 'vitest';
import { plantTree } from '#runtime/toolchain/planted-tree.ts';
import { redisTls } from './tls.ts';

const refused = (part: string) =>
  expect.objectContaining({ code: 'CONFIG_INVALID', message: expect.stringContaining(part) });

test('a URL without TLS is left as it is', () => {
  for (const url of ['redis://user:secret@host:1/2', 'host:6379', '/run/redis.sock', ''])
    expect(redisTls(url)).toEqual({ url, tls: null });
});

test('rediss:// is TLS with the authorities of Node, however it is spelled', () => {
  expect(redisTls('rediss://user:secret@host:1')).toEqual({ url: 'rediss://user:secret@host:1', tls: {} });
  // ioredis would speak without TLS to the second.
  expect(redisTls('REDISS://host:1')).toEqual({ url: 'rediss://host:1', tls: {} });
});

test('files that the URL names are read and taken out of it', () => {
  using tree = plantTree({ 'ca.pem': 'CA', 'client.pem': 'CERT', 'client.key': 'KEY' });
  const at = (name: string) => encodeURIComponent(join(tree.root, name));
  const url = `rediss://host:1/?family=6&sslrootcert=${at('ca.pem')}&sslcert=${at('client.pem')}&sslkey=${at('client.key')}`;
  expect(redisTls(url)).toEqual({
    url: 'rediss://host:1/?family=6',
    tls: { ca: 'CA', cert: 'CERT', key: 'KEY' },
  });
});

test('a file that cannot be read is refused with its name and reason, and without the password', () => {
  const open = () => redisTls('rediss://user:secret@host:1/?sslrootcert=/nowhere/ca.pem');
  expect(open).toThrow(refused('names a file by sslrootcert that cannot be read: ENOENT'));
  expect(open).not.toThrow(/secret/);
});

test('files beside redis:// are refused: nothing would be encrypted', () => {
  expect(() => redisTls('redis://host:1/?sslrootcert=/etc/ca.pem')).toThrow(refused('write rediss://'));
});

test('a client certificate without its key is refused, and the reverse', () => {
  using tree = plantTree({ file: 'PEM' });
  for (const parameter of ['sslcert', 'sslkey'])
    expect(() => redisTls(`rediss://host:1/?${parameter}=${tree.root}/file`)).toThrow(refused('needs both'));
});
