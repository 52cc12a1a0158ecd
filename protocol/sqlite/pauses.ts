import type { Pause, Records } from '#protocol/records.ts';
import { checkPauses, keptPause, pausedFact, resumedFact } from '#protocol/records-pauses.ts';
import type { Database, Row } from './database.ts';
import { writeEntries } from './ledger.ts';

const all = `SELECT kind, name, reason, actor, since_ms FROM pauses
  UNION ALL SELECT 'customer', name, reason, actor, since_ms FROM paused_customers ORDER BY kind, name`;
const put = {
  work: `INSERT INTO pauses (name, reason, actor, since_ms, kind) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (kind, name) DO UPDATE SET reason = excluded.reason, actor = excluded.actor`,
  customer: `INSERT INTO paused_customers (name, reason, actor, since_ms) VALUES (?, ?, ?, ?)
    ON CONFLICT (name) DO UPDATE SET reason = excluded.reason, actor = excluded.actor`,
};
const remove = {
  work: 'DELETE FROM pauses WHERE name = ? AND kind = ?',
  customer: 'DELETE FROM paused_customers WHERE name = ?',
};

const toPause = (row: Row): Pause => ({
  kind: row.kind as Pause['kind'],
  name: String(row.name),
  reason: String(row.reason),
  actor: String(row.actor),
  sinceMs: Number(row.since_ms),
});

function putPause(db: Database, asked: Pause): Pause {
  const pauses = db.all(all).map(toPause);
  const before = pauses.find(({ kind, name }) => kind === asked.kind && name === asked.name) ?? null;
  if (before === null) checkPauses(pauses.length);
  const kept = keptPause(before, asked);
  const values = [kept.name, kept.reason, kept.actor, kept.sinceMs];
  if (kept.kind === 'customer') db.run(put.customer, ...values);
  else db.run(put.work, ...values, kept.kind);
  writeEntries(db, null, pausedFact(kept, asked.sinceMs));
  return kept;
}

function endPause(db: Database, { kind, name }: Pick<Pause, 'kind' | 'name'>): boolean {
  const ended = kind === 'customer' ? db.run(remove.customer, name) : db.run(remove.work, name, kind);
  return ended > 0;
}

export function pauseMethods(db: Database): Pick<Records, 'putPause' | 'endPause' | 'listPauses'> {
  return {
    putPause: (pause) => db.write(() => putPause(db, pause)),
    endPause: ({ nowMs, ...by }) =>
      db.write(() => {
        if (!endPause(db, by)) return false;
        writeEntries(db, null, resumedFact(by, nowMs));
        return true;
      }),
    listPauses: () => db.readOne(() => db.all(all).map(toPause)),
  };
}
