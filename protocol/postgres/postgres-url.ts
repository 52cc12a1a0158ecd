import type { ConnectionOptions } from 'node:tls';
import { readStoreUrl, type StoreUrlForm, storeUrlRefusal } from '#protocol/store-url.ts';
import { readTlsFiles, tlsFileParameters } from '#protocol/tls/tls-files.ts';

/** Where DATABASE_URL leads. */
export interface PostgresTarget {
  /** Host, port and database, without user and password: for messages and logs. */
  store: string;
  /** For the driver. `ssl` is absent where the URL says nothing of TLS: PGSSLMODE decides then, else there is none. */
  config: { connectionString: string; ssl?: false | ConnectionOptions };
}

const form: StoreUrlForm = {
  variable: 'DATABASE_URL',
  protocols: ['postgres:', 'postgresql:'],
  form: 'postgresql://USER:PASSWORD@HOST:PORT/DATABASE',
  parameters: [
    'sslmode',
    ...tlsFileParameters,
    'host',
    'port',
    'user',
    'password',
    'application_name',
    'options',
  ],
  docs: 'docs/postgres.md',
};

/**
 * Reads DATABASE_URL, and the certificates that it names. Throws CONFIG_INVALID with what to do where
 * anything in it has no meaning here: the driver passes over parameters that it does not know, takes
 * those of its own that we set otherwise, and reads files only when it connects. Never repeats a password.
 */
export function postgresTarget(text: string): PostgresTarget {
  const { url, parameters } = readStoreUrl(text, form);
  const database = databaseOf(url.pathname);
  const ssl = tlsOf(parameters);
  for (const name of ['sslmode', ...tlsFileParameters]) url.searchParams.delete(name);
  const port = parameters.get('port') ?? url.port;
  const host = parameters.get('host') ?? url.hostname;
  return {
    store: `${host}${port === '' ? '' : `:${port}`}${database}`,
    config: { connectionString: url.href, ...(ssl === undefined ? {} : { ssl }) },
  };
}

/** With the slash before it. */
function databaseOf(path: string): string {
  const name = path.slice(1);
  if (/[/@]/.test(name))
    throw storeUrlRefusal(
      form,
      'has more than the name of a database behind the host: in a password write / as %2F and @ as %40',
    );
  if (/[&=]/.test(name))
    throw storeUrlRefusal(
      form,
      'has & or = in the name of the database: parameters begin with ?, as in …/emp?sslmode=verify-full',
    );
  try {
    return decodeURI(path);
  } catch (cause) {
    throw storeUrlRefusal(form, 'has a % in the name of the database that begins no %XX', cause);
  }
}

/** What `sslmode` means to the driver; `require` is stricter than PostgreSQL's, as the driver has always taken it. */
function tlsOf(parameters: ReadonlyMap<string, string>): false | ConnectionOptions | undefined {
  const files = tlsFileParameters.filter((name) => parameters.has(name));
  const mode = parameters.get('sslmode') ?? (files.length > 0 ? 'verify-full' : undefined);
  switch (mode) {
    case undefined:
      return undefined;
    case 'disable':
      if (files.length > 0)
        throw storeUrlRefusal(
          form,
          `names ${files[0]}, but sslmode=disable encrypts nothing: take out one of them`,
        );
      return false;
    case 'no-verify':
      if (parameters.has('sslrootcert'))
        throw storeUrlRefusal(
          form,
          'names sslrootcert, but sslmode=no-verify checks no certificate: write sslmode=verify-full',
        );
      return { ...readTlsFiles(form, parameters), rejectUnauthorized: false };
    case 'verify-ca':
      // With the authorities of Node anybody could have a certificate.
      if (!parameters.has('sslrootcert'))
        throw storeUrlRefusal(
          form,
          'has sslmode=verify-ca, which needs the CA: name its file by sslrootcert, or write sslmode=verify-full',
        );
      return { ...readTlsFiles(form, parameters), checkServerIdentity: () => undefined };
    case 'require':
    case 'verify-full':
      return readTlsFiles(form, parameters);
    case 'allow':
    case 'prefer':
      throw storeUrlRefusal(
        form,
        `has sslmode=${mode}, which goes on without TLS where there is none and says nothing: write disable or verify-full`,
      );
    default:
      throw storeUrlRefusal(
        form,
        'has an sslmode that is none of disable, no-verify, require, verify-ca and verify-full',
      );
  }
}
