import type { Pause, Records } from '#protocol/records.ts';
import { checkPauses, keptPause, pausedFact, resumedFact } from '#protocol/records-pauses.ts';
import type { Database, Row, Transaction } from './database.ts';
import { writeEntries } from './ledgers.ts';

const columns = 'SELECT kind, name, reason, actor, since_ms FROM emp.pauses';
/** Two operators at once take turns: the limit and the time of the first one hold. */
const lock = 'LOCK TABLE emp.pauses IN SHARE ROW EXCLUSIVE MODE';
const put = `INSERT INTO emp.pauses (kind, name, reason, actor, since_ms) VALUES ($1, $2, $3, $4, $5)
  ON CONFLICT (kind, name) DO UPDATE SET reason = excluded.reason, actor = excluded.actor`;
const remove = 'DELETE FROM emp.pauses WHERE kind = $1 AND name = $2 RETURNING name';

const toPause = (row: Row): Pause => ({
  kind: row.kind as Pause['kind'],
  name: String(row.name),
  reason: String(row.reason),
  actor: String(row.actor),
  sinceMs: Number(row.since_ms),
});

async function putPause(tx: Transaction, asked: Pause): Promise<Pause> {
  await tx.query(lock);
  const all = (await tx.query(columns)).map(toPause);
  const before = all.find(({ kind, name }) => kind === asked.kind && name === asked.name) ?? null;
  if (before === null) checkPauses(all.length);
  const kept = keptPause(before, asked);
  await tx.query(put, [kept.kind, kept.name, kept.reason, kept.actor, kept.sinceMs]);
  await writeEntries(tx, pausedFact(kept, asked.sinceMs));
  return kept;
}

export function pauseMethods(db: Database): Pick<Records, 'putPause' | 'endPause' | 'listPauses'> {
  return {
    putPause: (pause) => db.transaction((tx) => putPause(tx, pause)),
    endPause: ({ nowMs, ...by }) =>
      db.transaction(async (tx) => {
        if ((await tx.query(remove, [by.kind, by.name])).length === 0) return false;
        await writeEntries(tx, resumedFact(by, nowMs));
        return true;
      }),
    listPauses: async () => (await db.query(`${columns} ORDER BY kind, name`)).map(toPause),
  };
}
