import type { Pause, Records } from '#protocol/records.ts';
import { checkPauses, keptPause, pausedFact, resumedFact } from '#protocol/records-pauses.ts';
import type { Database, Row, Transaction } from './database.ts';
import { writeEntries } from './ledgers.ts';

const all = `SELECT kind, name, reason, actor, since_ms FROM emp.pauses
  UNION ALL SELECT 'customer' COLLATE "C", name, reason, actor, since_ms FROM emp.paused_customers ORDER BY kind, name`;
/** Two operators at once take turns: the limit and the time of the first one hold. */
const lock = 'LOCK TABLE emp.pauses IN SHARE ROW EXCLUSIVE MODE';
const put = {
  work: `INSERT INTO emp.pauses (name, reason, actor, since_ms, kind) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (kind, name) DO UPDATE SET reason = excluded.reason, actor = excluded.actor`,
  customer: `INSERT INTO emp.paused_customers (name, reason, actor, since_ms) VALUES ($1, $2, $3, $4)
    ON CONFLICT (name) DO UPDATE SET reason = excluded.reason, actor = excluded.actor`,
};
const remove = {
  work: 'DELETE FROM emp.pauses WHERE name = $1 AND kind = $2 RETURNING name',
  customer: 'DELETE FROM emp.paused_customers WHERE name = $1 RETURNING name',
};

const toPause = (row: Row): Pause => ({
  kind: row.kind as Pause['kind'],
  name: String(row.name),
  reason: String(row.reason),
  actor: String(row.actor),
  sinceMs: Number(row.since_ms),
});

async function putPause(tx: Transaction, asked: Pause): Promise<Pause> {
  await tx.query(lock);
  const pauses = (await tx.query(all)).map(toPause);
  const before = pauses.find(({ kind, name }) => kind === asked.kind && name === asked.name) ?? null;
  if (before === null) checkPauses(pauses.length);
  const kept = keptPause(before, asked);
  const values = [kept.name, kept.reason, kept.actor, kept.sinceMs];
  if (kept.kind === 'customer') await tx.query(put.customer, values);
  else await tx.query(put.work, [...values, kept.kind]);
  await writeEntries(tx, pausedFact(kept, asked.sinceMs));
  return kept;
}

async function endPause(tx: Transaction, { kind, name }: Pick<Pause, 'kind' | 'name'>): Promise<boolean> {
  const ended =
    kind === 'customer' ? await tx.query(remove.customer, [name]) : await tx.query(remove.work, [name, kind]);
  return ended.length > 0;
}

export function pauseMethods(db: Database): Pick<Records, 'putPause' | 'endPause' | 'listPauses'> {
  return {
    putPause: (pause) => db.transaction((tx) => putPause(tx, pause)),
    endPause: ({ nowMs, ...by }) =>
      db.transaction(async (tx) => {
        if (!(await endPause(tx, by))) return false;
        await writeEntries(tx, resumedFact(by, nowMs));
        return true;
      }),
    listPauses: async () => (await db.query(all)).map(toPause),
  };
}
