import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { type StoreUrlForm, storeUrlRefusal } from '#protocol/store-url.ts';

/** Files that the URL of a store may name, by the names that PostgreSQL has for them. */
const files = { ca: 'sslrootcert', cert: 'sslcert', key: 'sslkey' } as const;

/** Names of the parameters that name files. */
export const tlsFileParameters: readonly string[] = Object.values(files);

/** PEM texts for node:tls. Absent `ca` = the authorities that Node trusts, and NODE_EXTRA_CA_CERTS. */
export interface TlsFiles {
  ca?: string;
  cert?: string;
  key?: string;
}

/**
 * Reads the PEM files that a URL names: `sslrootcert`, and `sslcert` with `sslkey` for a server that asks
 * its clients for certificates. Throws CONFIG_INVALID with the parameter and the file where one cannot be
 * read or is no PEM, and for one of certificate and key without the other.
 */
export function readTlsFiles(form: StoreUrlForm, parameters: ReadonlyMap<string, string>): TlsFiles {
  const tls: TlsFiles = {};
  for (const [part, parameter] of Object.entries(files) as [keyof TlsFiles, string][]) {
    const file = parameters.get(parameter);
    if (file !== undefined) tls[part] = textOf(form, parameter, file);
  }
  if ((tls.cert === undefined) !== (tls.key === undefined))
    throw storeUrlRefusal(form, 'names one of sslcert and sslkey: a client certificate needs both');
  try {
    createSecureContext(tls);
  } catch (cause) {
    const why = (cause as Error).message;
    throw storeUrlRefusal(form, `names sslcert and sslkey that do not belong together: ${why}`, cause);
  }
  return tls;
}

function textOf(form: StoreUrlForm, parameter: string, file: string): string {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    const why = (cause as Error).message;
    throw storeUrlRefusal(form, `names a file by ${parameter} that cannot be read: ${why}`, cause);
  }
  // node:tls takes a CA file without certificates for one that trusts nobody, and says so at each handshake.
  const kind = parameter === files.key ? 'PRIVATE KEY-----' : '-----BEGIN CERTIFICATE-----';
  if (!text.includes(kind)) {
    const what = parameter === files.key ? 'key' : 'certificate';
    throw storeUrlRefusal(form, `names a file by ${parameter} that holds no ${what} in PEM: ${file}`);
  }
  return text;
}
