import { EmpError } from '#protocol/errors.ts';

/**
 * What an error of PostgreSQL means to whoever runs the hub, by SQLSTATE
 * (https://www.postgresql.org/docs/current/errcodes-appendix.html).
 */
interface Meaning {
  retryable: boolean;
  detail: (store: string) => string;
}

const restarting: Meaning = {
  retryable: true,
  detail: (store) =>
    `The record store ${store} is stopping or starting. Nothing half done is kept; try again.`,
};
const refusedUser: Meaning = {
  retryable: false,
  detail: (store) =>
    `The record store ${store} refuses this user or password. Correct DATABASE_URL, or pg_hba.conf on the server.`,
};
const conflict: Meaning = {
  retryable: true,
  detail: (store) =>
    `A commit to the record store ${store} kept meeting others on the same rows and was taken back. Try again.`,
};

const MEANINGS: Readonly<Record<string, Meaning>> = {
  '25006': {
    retryable: true,
    detail: (store) =>
      `The record store ${store} takes no writes: it is a standby, or set to read-only. Point DATABASE_URL at the primary.`,
  },
  '28000': refusedUser,
  '28P01': refusedUser,
  '3D000': {
    retryable: false,
    detail: (store) => `The record store ${store} has no such database. Create it, or correct DATABASE_URL.`,
  },
  '40001': conflict,
  '40P01': conflict,
  '42501': {
    retryable: false,
    detail: (store) =>
      `This user may not use the schema emp of the record store ${store}. Grant it CREATE on the database, or make it the owner of the schema.`,
  },
  '42P01': {
    retryable: false,
    detail: (store) => `A table of the record store ${store} is gone. Restore a backup of the schema emp.`,
  },
  '53100': {
    retryable: true,
    detail: (store) =>
      `There is no room on the disk of the record store ${store}. Nothing was committed; free space there.`,
  },
  '53200': {
    retryable: true,
    detail: (store) => `The server of the record store ${store} is out of memory. Nothing was committed.`,
  },
  '53300': {
    retryable: true,
    detail: (store) =>
      `The record store ${store} takes no more connections. Lower the pool limit of the hubs, or raise max_connections.`,
  },
  '55P03': {
    retryable: true,
    detail: (store) =>
      `A row of the record store ${store} stayed locked by another session. Look in pg_stat_activity for who holds it.`,
  },
  '57014': {
    retryable: true,
    detail: (store) =>
      `The record store ${store} did not finish a statement within its deadline. Nothing was committed.`,
  },
  '57P01': restarting,
  '57P02': restarting,
  '57P03': restarting,
};

/** What only DATABASE_URL, the server's settings or a GRANT can put right. */
const wrongSettings: ReadonlySet<unknown> = new Set(['28000', '28P01', '3D000', '42501', 'tls']);

/** Codes of OpenSSL and Node, and words of the driver, for TLS that cannot become right by waiting. */
const tlsCauses: readonly [signs: RegExp, detail: string][] = [
  [
    /SELF_SIGNED_CERT|UNABLE_TO_(GET_ISSUER_CERT|VERIFY_LEAF_SIGNATURE)|CERT_(UNTRUSTED|SIGNATURE_FAILURE)/,
    'has a certificate of no authority that is trusted here: name the file of its CA, ?sslmode=verify-full&sslrootcert=/path/ca.pem',
  ],
  [
    /ERR_TLS_CERT_ALTNAME_INVALID/,
    'has a certificate for another host: use the name that is in it, or sslmode=verify-ca with its CA by sslrootcert',
  ],
  [
    /does not support SSL connections/,
    'has no TLS: set ssl = on there, or write sslmode=disable where the way to it is safe',
  ],
  [
    /ALERT_(CERTIFICATE_REQUIRED|UNKNOWN_CA|BAD_CERTIFICATE|HANDSHAKE_FAILURE)/,
    'does not take our client certificate, or asks for one: name it by sslcert and sslkey',
  ],
];

/** A reason in the server, its disk or its data (class 58, XX) rather than in what we asked. */
const elsewhere = /^(08|53|57|58|XX|F0)/;

export function sqlStateOf(error: unknown): string | null {
  if (!(error instanceof EmpError)) return null;
  return typeof error.fields.sqlState === 'string' ? error.fields.sqlState : null;
}

/** Two commits met: this one was rolled back whole and may be tried again. */
export function isConflict(error: unknown): boolean {
  const state = sqlStateOf(error);
  return state === '40001' || state === '40P01';
}

/** The connection is gone or not to be used again; whether a COMMIT under way took place is not known. */
export function isLost(error: unknown): boolean {
  return error instanceof EmpError && error.fields.connectionLost === true;
}

/** Our error for what the client library or the server said. */
export function driverFailure(error: unknown, store: string): EmpError {
  const text = error instanceof Error ? error.message : String(error);
  const { code = '', severity = '' } = error as { code?: string; severity?: string };
  if (!/^[0-9A-Z]{5}$/.test(code) || severity === '') {
    const [, tls] = tlsCauses.find(([signs]) => signs.test(code) || signs.test(text)) ?? [];
    if (tls !== undefined)
      return new EmpError('RECORDS_UNAVAILABLE', {
        detail: `The server of the record store ${store} ${tls}. It says: ${text}. See docs/postgres.md`,
        retryable: false,
        cause: error,
        fields: { connectionLost: true, reason: 'tls' },
      });
    return new EmpError('RECORDS_UNAVAILABLE', {
      detail: `The record store ${store} does not answer: ${text || code}. Check that the server runs and DATABASE_URL is right.`,
      cause: error,
      fields: { connectionLost: true, reason: code },
    });
  }
  const known = MEANINGS[code];
  const connectionLost =
    severity === 'FATAL' || severity === 'PANIC' || code.startsWith('08') || code === '25006';
  const fields = { sqlState: code, connectionLost };
  if (known) {
    const { retryable } = known;
    // PostgreSQL names what it looked for in pg_hba.conf, and ends with how we came.
    const wantsTls = code === '28000' && text.endsWith('no encryption');
    return new EmpError('RECORDS_UNAVAILABLE', {
      detail: known.detail(store) + (wantsTls ? ' It may want TLS: ?sslmode=verify-full.' : ''),
      retryable,
      cause: error,
      fields,
    });
  }
  if (connectionLost || elsewhere.test(code)) {
    const detail = `The record store ${store} failed: ${text}`;
    return new EmpError('RECORDS_UNAVAILABLE', { detail, cause: error, fields });
  }
  // Every refusal that a caller can expect is checked before: this is a bug of ours.
  return new EmpError('INTERNAL', {
    detail: `The record store refused a statement: ${text}`,
    cause: error,
    fields,
  });
}

/**
 * The same failure when the store is opened: CONFIG_INVALID where only a setting can put it right, because
 * nobody but the starter of this hub is there to do it.
 */
export function openingFailure(failure: EmpError): EmpError {
  const { sqlState, reason } = failure.fields;
  if (failure.code !== 'RECORDS_UNAVAILABLE' || !(wrongSettings.has(sqlState) || wrongSettings.has(reason)))
    return failure;
  return new EmpError('CONFIG_INVALID', {
    detail: failure.message,
    cause: failure.cause,
    fields: failure.fields,
  });
}

export function storeClosed(store: string): EmpError {
  return new EmpError('RECORDS_UNAVAILABLE', {
    detail: `The record store ${store} is closed: this process is stopping.`,
    retryable: true,
  });
}
