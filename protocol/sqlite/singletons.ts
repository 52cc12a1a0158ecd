import type { Rng } from '#protocol/env.ts';
import { EmpError } from '#protocol/errors.ts';
import type { Records, SingletonLease } from '#protocol/records.ts';
import type { Database, Row } from './database.ts';

/** Who may act as sweeper, recorder, planner …: one row each, judged by the store's own clock. */

/** Shortest and longest time that a singleton may be held without renewal, ms. */
const ttlRangeMs = { least: 1_000, most: 600_000 };

/** Whether this lease may commit an effect now. Called inside the effect's own transaction. */
export function leaseStands(db: Database, lease: SingletonLease, nowMs: number): boolean {
  const row = db.get('SELECT holder, token, until_ms FROM singletons WHERE name = ?', lease.name);
  return (
    row !== undefined &&
    row.holder === lease.holder &&
    row.token === lease.token &&
    Number(row.until_ms) > nowMs
  );
}

/** Free once its time has passed, or if the clock stepped back behind the moment it was taken. */
function isFree(row: Row, nowMs: number): boolean {
  const untilMs = Number(row.until_ms);
  return untilMs <= nowMs || untilMs - Number(row.ttl_ms) > nowMs;
}

type Hold = Parameters<Records['holdSingleton']>[0];

function hold(db: Database, { name, holder, ttlMs, current }: Hold, nowMs: number): SingletonLease | null {
  const row = db.get('SELECT holder, token, until_ms, ttl_ms FROM singletons WHERE name = ?', name);
  const untilMs = nowMs + ttlMs;
  if (current) {
    // A late renewal is as good as one in time while nobody took the row: the token is the same.
    if (!row || row.holder !== holder || row.token !== current.token || current.holder !== holder)
      return null;
    db.run('UPDATE singletons SET until_ms = ?, ttl_ms = ? WHERE name = ?', untilMs, ttlMs, name);
    return { name, holder, token: current.token, untilMs };
  }
  if (row && !isFree(row, nowMs)) return null;
  const token = row ? Number(row.token) + 1 : 1;
  db.run(
    'INSERT INTO singletons (name, holder, token, until_ms, ttl_ms) VALUES (?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, token = excluded.token, until_ms = excluded.until_ms, ttl_ms = excluded.ttl_ms',
    name,
    holder,
    token,
    untilMs,
    ttlMs,
  );
  return { name, holder, token, untilMs };
}

function checkTtl(ttlMs: number): void {
  if (ttlMs >= ttlRangeMs.least && ttlMs <= ttlRangeMs.most) return;
  const detail = `ttlMs is from ${ttlRangeMs.least} to ${ttlRangeMs.most}`;
  throw new EmpError('VALIDATION_FAILED', { detail, errors: [{ pointer: '/ttlMs', detail }] });
}

const secretName = /^[a-z][a-z0-9-]{0,63}$/;

export function singletonMethods(
  db: Database,
  options: { nowMs: () => number; rng: Rng },
): Pick<Records, 'holdSingleton' | 'dropSingleton' | 'secret'> {
  return {
    holdSingleton: (wanted) =>
      db.write(() => {
        checkTtl(wanted.ttlMs);
        return hold(db, wanted, options.nowMs());
      }),

    dropSingleton: ({ name, holder, token }) =>
      db.write(() => {
        db.run(
          'UPDATE singletons SET until_ms = 0 WHERE name = ? AND holder = ? AND token = ?',
          name,
          holder,
          token,
        );
      }),

    secret: (name) =>
      db.write(() => {
        if (!secretName.test(name)) {
          const detail = 'a secret has a name of 1 to 64 characters of a-z 0-9 - that begins with a letter';
          throw new EmpError('VALIDATION_FAILED', { detail, errors: [{ pointer: '/name', detail }] });
        }
        const known = db.get('SELECT value FROM secrets WHERE name = ?', name);
        if (known) return String(known.value);
        const value = Buffer.from(Array.from({ length: 32 }, () => options.rng.int(0, 255))).toString(
          'base64url',
        );
        db.run('INSERT INTO secrets (name, value) VALUES (?, ?)', name, value);
        return value;
      }),
  };
}
