import { EmpError } from '#protocol/errors.ts';

/**
 * What an error of SQLite means to whoever runs the hub. By primary result code (the low byte of the
 * extended one): https://sqlite.org/rescode.html.
 */
const FAILURES: Readonly<Record<number, { retryable: boolean; detail: (path: string) => string }>> = {
  5: {
    retryable: true,
    detail: (path) =>
      `The record store ${path} is locked by another process. Stop that process, or give each hub its own data folder.`,
  },
  6: {
    retryable: true,
    detail: (path) => `The record store ${path} is locked by another connection. Try again.`,
  },
  8: {
    retryable: false,
    detail: (path) =>
      `The record store ${path} cannot be written. Give this user the right to write the file and its folder, or mount the disk for writing.`,
  },
  10: {
    retryable: true,
    detail: (path) =>
      `The disk under the record store ${path} reported an error. Nothing was committed; check the disk and the system's log.`,
  },
  11: {
    retryable: false,
    detail: (path) =>
      `The record store ${path} is damaged. Stop the hub, keep a copy of the file, and restore a backup or run "sqlite3 FILE .recover".`,
  },
  13: {
    retryable: true,
    detail: (path) =>
      `There is no room for the record store ${path}. Nothing was committed; free space on its disk.`,
  },
  14: {
    retryable: false,
    detail: (path) =>
      `The record store ${path} cannot be opened. Create its folder and give this user the right to write there.`,
  },
  26: {
    retryable: false,
    detail: (path) =>
      `${path} is not a record store. Point the data folder elsewhere, or move that file away.`,
  },
};

/** Primary result code of an error of node:sqlite; null for any other error. */
export function sqliteCode(error: unknown): number | null {
  if (!(error instanceof Error) || !('errcode' in error) || typeof error.errcode !== 'number') return null;
  return error.errcode & 0xff;
}

export function isBusy(error: unknown): boolean {
  const code = sqliteCode(error);
  return code === 5 || code === 6;
}

/** Our error for what SQLite threw; errors of our own pass through, broken invariants are `INTERNAL`. */
export function sqliteFailure(error: unknown, path: string): EmpError {
  if (error instanceof EmpError) return error;
  const code = sqliteCode(error);
  const text = error instanceof Error ? error.message : String(error);
  if (code === null)
    return new EmpError('INTERNAL', { detail: `The record store met a bug: ${text}`, cause: error });
  // A constraint that fails is a bug of ours: every refusal that a caller can expect is checked before.
  if (code === 19)
    return new EmpError('INTERNAL', { detail: `The record store refused a row: ${text}`, cause: error });
  const known = FAILURES[code];
  return new EmpError('RECORDS_UNAVAILABLE', {
    detail: known ? known.detail(path) : `The record store ${path} failed: ${text}`,
    retryable: known?.retryable ?? true,
    cause: error,
    fields: { sqliteCode: code },
  });
}

export function storeClosed(path: string): EmpError {
  return new EmpError('RECORDS_UNAVAILABLE', {
    detail: `The record store ${path} is closed: this process is stopping.`,
    retryable: true,
  });
}
