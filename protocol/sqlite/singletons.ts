import type { Rng } from '#protocol/env.ts';
import type { Records, SingletonLease } from '#protocol/records.ts';
import { checkSecretName, checkSingletonTtl, newSecret } from '#protocol/records-checks.ts';
import { decideHold, leaseStands, type SingletonRow } from '#protocol/records-singletons.ts';
import type { Database } from './database.ts';

/** Who may act as sweeper, recorder, planner …, and the store's secrets. */

function readSingleton(db: Database, name: string): SingletonRow | null {
  const row = db.get('SELECT holder, token, until_ms, ttl_ms FROM singletons WHERE name = ?', name);
  if (!row) return null;
  return {
    holder: String(row.holder),
    token: Number(row.token),
    untilMs: Number(row.until_ms),
    ttlMs: Number(row.ttl_ms),
  };
}

/** Whether this lease may commit an effect now. Called inside the effect's own transaction. */
export function leaseHolds(db: Database, lease: SingletonLease, nowMs: number): boolean {
  return leaseStands(readSingleton(db, lease.name), lease, nowMs);
}

const putSingleton =
  'INSERT INTO singletons (name, holder, token, until_ms, ttl_ms) VALUES (?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, token = excluded.token, until_ms = excluded.until_ms, ttl_ms = excluded.ttl_ms';

function hold(
  db: Database,
  wanted: Parameters<Records['holdSingleton']>[0],
  nowMs: number,
): SingletonLease | null {
  const { name } = wanted;
  const next = decideHold(readSingleton(db, name), wanted, nowMs);
  if (!next) return null;
  const { holder, token, untilMs, ttlMs } = next;
  db.run(putSingleton, name, holder, token, untilMs, ttlMs);
  return { name, holder, token, untilMs };
}

function secret(db: Database, rng: Rng, name: string): string {
  const known = db.get('SELECT value FROM secrets WHERE name = ?', name);
  if (known) return String(known.value);
  const value = newSecret(rng);
  db.run('INSERT INTO secrets (name, value) VALUES (?, ?)', name, value);
  return value;
}

export function singletonMethods(
  db: Database,
  options: { nowMs: () => number; rng: Rng },
): Pick<Records, 'holdSingleton' | 'dropSingleton' | 'secret'> {
  return {
    holdSingleton: (wanted) =>
      db.write(() => {
        checkSingletonTtl(wanted.ttlMs);
        return hold(db, wanted, options.nowMs());
      }),

    dropSingleton: ({ name, holder, token }) =>
      db.write(() => {
        const drop = 'UPDATE singletons SET until_ms = 0 WHERE name = ? AND holder = ? AND token = ?';
        db.run(drop, name, holder, token);
      }),

    secret: (name) =>
      db.write(() => {
        checkSecretName(name);
        return secret(db, options.rng, name);
      }),
  };
}
