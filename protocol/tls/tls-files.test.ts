import { join } from 'node:path';
import { expect, test } from 'vitest';
import { plantTree } from '#runtime/toolchain/planted-tree.ts';
import { testCertificate } from '#runtime/toolchain/test-certificates.ts';
import { readTlsFiles, tlsFileParameters } from './tls-files.ts';

const form = {
  variable: 'STORE_URL',
  protocols: ['store:'],
  form: 'store://HOST',
  parameters: tlsFileParameters,
  docs: 'docs/store.md',
};
const read = (named: Record<string, string>) => readTlsFiles(form, new Map(Object.entries(named)));
const refused = (part: string) =>
  expect.objectContaining({ code: 'CONFIG_INVALID', message: expect.stringContaining(part) });

test('a file that cannot be read is refused with variable, parameter, file and reason', () => {
  expect(() => read({ sslrootcert: '/nowhere/ca.pem' })).toThrow(
    refused(
      "STORE_URL names a file by sslrootcert that cannot be read: ENOENT: no such file or directory, open '/nowhere/ca.pem'",
    ),
  );
});

test('a file that is no PEM is refused: the server would be blamed for it', () => {
  const { cert, key } = testCertificate({ name: 'hub', hosts: [] }, testCertificate({ name: 'ca' }));
  using tree = plantTree({ empty: '', cert, key });
  const at = (name: string) => join(tree.root, name);
  expect(() => read({ sslrootcert: at('empty') })).toThrow(
    refused(`names a file by sslrootcert that holds no certificate in PEM: ${at('empty')}`),
  );
  expect(() => read({ sslcert: at('cert'), sslkey: at('cert') })).toThrow(
    refused(`names a file by sslkey that holds no key in PEM: ${at('cert')}`),
  );
});

test('a client certificate without its key is refused, and the reverse, and one with the key of another', () => {
  const authority = testCertificate({ name: 'ca' });
  const hub = testCertificate({ name: 'hub', hosts: [] }, authority);
  const other = testCertificate({ name: 'other', hosts: [] }, authority);
  using tree = plantTree({ cert: hub.cert, key: hub.key, otherKey: other.key });
  const at = (name: string) => join(tree.root, name);
  expect(() => read({ sslcert: at('cert') })).toThrow(refused('needs both'));
  expect(() => read({ sslkey: at('key') })).toThrow(refused('needs both'));
  expect(() => read({ sslcert: at('cert'), sslkey: at('otherKey') })).toThrow(
    refused('do not belong together'),
  );
  expect(read({ sslcert: at('cert'), sslkey: at('key') })).toEqual({ cert: hub.cert, key: hub.key });
});
