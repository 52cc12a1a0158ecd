import { readFileSync } from 'node:fs';
import { EmpError } from '#protocol/errors.ts';

/** Files that a `rediss://` URL may name, by the names that PostgreSQL has for them. */
const files = { ca: 'sslrootcert', cert: 'sslcert', key: 'sslkey' } as const;

/** PEM texts for node:tls. Absent `ca` = the authorities that Node trusts, and NODE_EXTRA_CA_CERTS. */
export interface TlsFiles {
  ca?: string;
  cert?: string;
  key?: string;
}

/**
 * Takes the TLS files out of a Redis URL and reads them: `rediss://host:6379?sslrootcert=/etc/ca.pem`,
 * and `sslcert` with `sslkey` for a server that asks its clients for certificates. `tls` is null
 * without TLS. Throws CONFIG_INVALID for a file that cannot be read, and for files where nothing is
 * encrypted. What is no URL comes back as it is.
 */
export function redisTls(target: string): { url: string; tls: TlsFiles | null } {
  if (!URL.canParse(target) || !/^rediss?:$/.test(new URL(target).protocol))
    return { url: target, tls: null };
  const url = new URL(target);
  const isEncrypted = url.protocol === 'rediss:';
  const tls: TlsFiles = {};
  for (const [part, parameter] of Object.entries(files) as [keyof TlsFiles, string][]) {
    const file = url.searchParams.get(parameter);
    if (file === null) continue;
    if (!isEncrypted) throw refusal(`names ${parameter}, but redis:// is not encrypted: write rediss://`);
    url.searchParams.delete(parameter);
    tls[part] = textOf(parameter, file);
  }
  if ((tls.cert === undefined) !== (tls.key === undefined))
    throw refusal('names one of sslcert and sslkey: a client certificate needs both');
  // The spelling of URL: ioredis would take REDISS:// for a connection without TLS.
  return { url: url.href, tls: isEncrypted ? tls : null };
}

function textOf(parameter: string, file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw refusal(`names a file by ${parameter} that cannot be read: ${(cause as Error).message}`, cause);
  }
}

function refusal(what: string, cause?: unknown): EmpError {
  return new EmpError('CONFIG_INVALID', { detail: `REDIS_URL ${what}; see docs/redis.md`, cause });
}

/** Codes of OpenSSL and Node for what only a setting can put right, and what to do. */
const causes: readonly [codes: RegExp, detail: string][] = [
  [
    /SELF_SIGNED_CERT|UNABLE_TO_(GET_ISSUER_CERT|VERIFY_LEAF_SIGNATURE)|CERT_(UNTRUSTED|SIGNATURE_FAILURE)/,
    'its certificate is of no authority that is trusted here: name the file of its CA, rediss://…?sslrootcert=/path/ca.pem',
  ],
  [
    /ERR_TLS_CERT_ALTNAME_INVALID/,
    'its certificate is for another host: use the name that is in the certificate',
  ],
  [
    /ERR_SSL_(WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG)/,
    'it speaks no TLS on this port: write redis://, or its TLS port',
  ],
  [
    /ALERT_(CERTIFICATE_REQUIRED|UNKNOWN_CA|BAD_CERTIFICATE|HANDSHAKE_FAILURE)|KEY_VALUES_MISMATCH/,
    'it does not take our client certificate, or asks for one: name it in the URL by sslcert and sslkey',
  ],
];

/** What is wrong between the server's TLS and our settings; null where an error is something else. */
export function tlsRefusal(error: unknown): string | null {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  return causes.find(([codes]) => codes.test(code))?.[1] ?? null;
}
