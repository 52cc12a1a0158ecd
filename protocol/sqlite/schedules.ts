import { checkLimit } from '#protocol/page-cursor.ts';
import type { Fenced, Records } from '#protocol/records.ts';
import {
  type AdvancedSchedule,
  advancedFact,
  checkSchedules,
  keptSchedule,
  removedFact,
  type SavedSchedule,
  savedFact,
  scheduleOf,
} from '#protocol/records-schedules.ts';
import type { Schedule } from '#protocol/schedule.ts';
import type { Database } from './database.ts';
import { writeEntries } from './ledger.ts';
import { leaseHolds } from './singletons.ts';

const columns =
  'SELECT name, document, next_at_ms, last, last_job, actor, created_at_ms, updated_at_ms FROM schedules';
const put = `INSERT INTO schedules (name, document, next_at_ms, actor, created_at_ms, updated_at_ms)
  VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET document = excluded.document,
  next_at_ms = excluded.next_at_ms, actor = excluded.actor, updated_at_ms = excluded.updated_at_ms`;
const advance = `UPDATE schedules SET next_at_ms = ?, last = ?, last_job = coalesce(?, last_job)
  WHERE name = ? AND next_at_ms = ?`;

function putSchedule(db: Database, saved: SavedSchedule): Schedule {
  const row = db.get(`${columns} WHERE name = ?`, saved.name);
  if (row === undefined) checkSchedules(Number(db.get('SELECT count(*) AS n FROM schedules')?.n));
  const kept = keptSchedule(row === undefined ? null : scheduleOf(row), saved);
  const { name, nextAtMs, actor, createdAtMs, updatedAtMs } = kept;
  db.run(put, name, JSON.stringify(saved.definition), nextAtMs, actor, createdAtMs, updatedAtMs);
  writeEntries(db, null, savedFact(kept));
  return kept;
}

function advanceSchedule(db: Database, asked: AdvancedSchedule, nowMs: number): Fenced<boolean> {
  if (!leaseHolds(db, asked.lease, nowMs)) return { kind: 'staleSingleton' };
  const { name, fromMs, nextAtMs, last } = asked;
  if (db.run(advance, nextAtMs, JSON.stringify(last), last.jobId, name, fromMs) === 0)
    return { kind: 'ok', value: false };
  writeEntries(db, null, advancedFact(asked));
  return { kind: 'ok', value: true };
}

type ScheduleMethods =
  | 'putSchedule'
  | 'removeSchedule'
  | 'listSchedules'
  | 'dueSchedules'
  | 'advanceSchedule';

export function scheduleMethods(db: Database, nowMs: () => number): Pick<Records, ScheduleMethods> {
  return {
    putSchedule: (saved) => db.write(() => putSchedule(db, saved)),
    removeSchedule: (asked) =>
      db.write(() => {
        if (db.run('DELETE FROM schedules WHERE name = ?', asked.name) === 0) return false;
        writeEntries(db, null, removedFact(asked));
        return true;
      }),
    listSchedules: () => db.readOne(() => db.all(`${columns} ORDER BY name`).map(scheduleOf)),
    dueSchedules: (asked) =>
      db.readOne(() =>
        db
          .all(
            `${columns} WHERE next_at_ms IS NOT NULL AND (next_at_ms, name) > (?, ?) AND next_at_ms <= ?
              ORDER BY next_at_ms, name LIMIT ?`,
            asked.after?.nextAtMs ?? -1,
            asked.after?.name ?? '',
            asked.nowMs,
            checkLimit(asked.limit, 1_000),
          )
          .map(scheduleOf),
      ),
    advanceSchedule: (asked) => db.write(() => advanceSchedule(db, asked, nowMs())),
  };
}
