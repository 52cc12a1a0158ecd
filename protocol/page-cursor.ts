import { EmpError } from './errors.ts';

/**
 * Opaque place in a list that is ordered by time and, within one ms, by a store's own number. The
 * form is versioned: a cursor from another version of the list is refused instead of misread.
 */
export interface PageCursor {
  atMs: number;
  ordinal: number;
}

const form = /^1:(\d{1,16}(?:\.\d{1,6})?):(\d{1,16})$/;

export function encodeCursor(cursor: PageCursor): string {
  return encodeBase64Url(`1:${cursor.atMs}:${cursor.ordinal}`);
}

/** Throws `VALIDATION_FAILED` naming `cursor`. */
export function decodeCursor(text: string): PageCursor {
  const match = text.length <= 128 ? form.exec(decodeBase64Url(text)) : null;
  if (!match) {
    throw new EmpError('VALIDATION_FAILED', {
      detail:
        'cursor is not one that this list answered. Take nextCursor of the page before, or leave it out to begin.',
      errors: [{ pointer: '/cursor', detail: 'is not a cursor of this list' }],
    });
  }
  return { atMs: Number(match[1]), ordinal: Number(match[2]) };
}

/** Page sizes of every list: throws `VALIDATION_FAILED` naming `limit`. */
export function checkLimit(limit: number, most = 1_000): number {
  if (Number.isInteger(limit) && limit >= 1 && limit <= most) return limit;
  const detail = `limit is a whole number from 1 to ${most}`;
  throw new EmpError('VALIDATION_FAILED', { detail, errors: [{ pointer: '/limit', detail }] });
}

const encodeBase64Url = (text: string) =>
  btoa(text).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');

function decodeBase64Url(text: string): string {
  if (!/^[A-Za-z0-9_-]*$/.test(text) || text.length % 4 === 1) return '';
  return atob(text.replaceAll('-', '+').replaceAll('_', '/'));
}
