import type { Pause, Records } from '#protocol/records.ts';
import { checkPauses, keptPause, pausedFact, resumedFact } from '#protocol/records-pauses.ts';
import type { Database, Row } from './database.ts';
import { writeEntries } from './ledger.ts';

const columns = 'SELECT kind, name, reason, actor, since_ms FROM pauses';
const put = `INSERT INTO pauses (kind, name, reason, actor, since_ms) VALUES (?, ?, ?, ?, ?)
  ON CONFLICT (kind, name) DO UPDATE SET reason = excluded.reason, actor = excluded.actor`;

const toPause = (row: Row): Pause => ({
  kind: row.kind as Pause['kind'],
  name: String(row.name),
  reason: String(row.reason),
  actor: String(row.actor),
  sinceMs: Number(row.since_ms),
});

function putPause(db: Database, asked: Pause): Pause {
  const row = db.get(`${columns} WHERE kind = ? AND name = ?`, asked.kind, asked.name);
  if (row === undefined) checkPauses(Number(db.get('SELECT count(*) AS n FROM pauses')?.n));
  const kept = keptPause(row === undefined ? null : toPause(row), asked);
  db.run(put, kept.kind, kept.name, kept.reason, kept.actor, kept.sinceMs);
  writeEntries(db, null, pausedFact(kept, asked.sinceMs));
  return kept;
}

export function pauseMethods(db: Database): Pick<Records, 'putPause' | 'endPause' | 'listPauses'> {
  return {
    putPause: (pause) => db.write(() => putPause(db, pause)),
    endPause: ({ nowMs, ...by }) =>
      db.write(() => {
        if (db.run('DELETE FROM pauses WHERE kind = ? AND name = ?', by.kind, by.name) === 0) return false;
        writeEntries(db, null, resumedFact(by, nowMs));
        return true;
      }),
    listPauses: () => db.readOne(() => db.all(`${columns} ORDER BY kind, name`).map(toPause)),
  };
}
