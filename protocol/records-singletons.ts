import type { Records, SingletonLease } from './records.ts';

/** Who may act as sweeper, recorder, planner …: one row each, judged by the store's own clock. */

/** `ttlMs` is what `untilMs` was counted from: it tells whether the clock stepped back since. */
export interface SingletonRow {
  holder: string;
  token: number;
  untilMs: number;
  ttlMs: number;
}

/** Whether this lease may commit an effect now. Asked inside the effect's own transaction. */
export function leaseStands(row: SingletonRow | null, lease: SingletonLease, nowMs: number): boolean {
  return row !== null && row.holder === lease.holder && row.token === lease.token && row.untilMs > nowMs;
}

/** Free once its time has passed, or if the clock stepped back behind the moment it was taken. */
function isFree({ untilMs, ttlMs }: SingletonRow, nowMs: number): boolean {
  return untilMs <= nowMs || untilMs - ttlMs > nowMs;
}

/** The row after a call of `holdSingleton`; null where the caller is refused. */
export function decideHold(
  row: SingletonRow | null,
  { holder, ttlMs, current }: Parameters<Records['holdSingleton']>[0],
  nowMs: number,
): SingletonRow | null {
  const untilMs = nowMs + ttlMs;
  if (current) {
    // A late renewal is as good as one in time while nobody took the row: the token is the same.
    const same = row?.holder === holder && row.token === current.token && current.holder === holder;
    return same ? { ...row, untilMs, ttlMs } : null;
  }
  if (row && !isFree(row, nowMs)) return null;
  return { holder, token: row ? row.token + 1 : 1, untilMs, ttlMs };
}
