import type { Rng } from '#protocol/env.ts';
import type { Records, SingletonLease } from '#protocol/records.ts';
import { checkSecretName, checkSingletonTtl, newSecret } from '#protocol/records-checks.ts';
import { decideHold, leaseStands, type SingletonRow } from '#protocol/records-singletons.ts';
import { type Database, storableText, type Transaction } from './database.ts';

/** Who may act as sweeper, recorder, planner …, by the server's clock, and the store's secrets. */

/** The clock is read after the lock was got: a wait for it counts. */
const lockSingleton = `WITH held AS MATERIALIZED (SELECT holder, token, until_ms, ttl_ms FROM emp.singletons WHERE name = $1 FOR NO KEY UPDATE)
  SELECT held.*, extract(epoch FROM clock_timestamp())::double precision * 1000 AS now_ms FROM held`;

interface Locked {
  row: SingletonRow;
  nowMs: number;
}

async function lock(tx: Transaction, name: string): Promise<Locked | null> {
  const [found] = await tx.query(lockSingleton, [name]);
  if (!found) return null;
  const row = {
    holder: String(found.holder),
    token: Number(found.token),
    untilMs: Number(found.until_ms),
    ttlMs: Number(found.ttl_ms),
  };
  return { row, nowMs: Number(found.now_ms) };
}

/** Whether this lease may commit an effect now. Nobody can take or renew it until the effect's commit. */
export async function leaseHolds(tx: Transaction, lease: SingletonLease): Promise<boolean> {
  const locked = await lock(tx, lease.name);
  return locked !== null && leaseStands(locked.row, lease, locked.nowMs);
}

/** A row that was never held: it gives everybody something to lock. */
const prepare = `INSERT INTO emp.singletons (name, holder, token, until_ms, ttl_ms) VALUES ($1, '', 0, 0, 0) ON CONFLICT (name) DO NOTHING`;
const write = 'UPDATE emp.singletons SET holder = $2, token = $3, until_ms = $4, ttl_ms = $5 WHERE name = $1';

type Hold = Parameters<Records['holdSingleton']>[0];

async function hold(tx: Transaction, wanted: Hold): Promise<SingletonLease | null> {
  const name = storableText(wanted.name);
  let locked = await lock(tx, name);
  if (!locked) {
    await tx.query(prepare, [name]);
    locked = await lock(tx, name);
  }
  if (!locked) throw new Error(`singleton ${name} has no row`);
  const next = decideHold(locked.row, wanted, locked.nowMs);
  if (!next) return null;
  await tx.query(write, [name, next.holder, next.token, next.untilMs, next.ttlMs]);
  return { name: wanted.name, holder: next.holder, token: next.token, untilMs: next.untilMs };
}

const drop = 'UPDATE emp.singletons SET until_ms = 0 WHERE name = $1 AND holder = $2 AND token = $3';

const keepSecret = 'INSERT INTO emp.secrets (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING';
const readSecret = 'SELECT value FROM emp.secrets WHERE name = $1';

/** Of two hubs that make one at once the first to commit is right; the other reads it. */
async function secret(db: Database, rng: Rng, name: string): Promise<string> {
  const read = async (from: Pick<Database, 'query'>) =>
    (await from.query<{ value: string }>(readSecret, [name]))[0]?.value;
  const known = await read(db);
  if (known !== undefined) return known;
  return await db.transaction(async (tx) => {
    await tx.query(keepSecret, [name, newSecret(rng)]);
    const kept = await read(tx);
    if (kept === undefined) throw new Error(`secret ${name} has no row after its commit`);
    return kept;
  });
}

export function singletonMethods(
  db: Database,
  rng: Rng,
): Pick<Records, 'holdSingleton' | 'dropSingleton' | 'secret'> {
  return {
    holdSingleton: async (wanted) => {
      checkSingletonTtl(wanted.ttlMs);
      return await db.transaction((tx) => hold(tx, wanted));
    },
    dropSingleton: async ({ name, holder, token }) => {
      await db.transaction((tx) => tx.query(drop, [name, holder, token]));
    },
    secret: async (name) => {
      checkSecretName(name);
      return await secret(db, rng, name);
    },
  };
}
