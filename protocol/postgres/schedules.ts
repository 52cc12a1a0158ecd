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
import type { Database, Transaction } from './database.ts';
import { writeEntries } from './ledgers.ts';
import { leaseHolds } from './singletons.ts';

const columns =
  'SELECT name, document, next_at_ms, last, last_job, actor, created_at_ms, updated_at_ms FROM emp.schedules';
/** Two operators at once take turns: the limit holds, and what a schedule did so far is kept. */
const lock = 'LOCK TABLE emp.schedules IN SHARE ROW EXCLUSIVE MODE';
const put = `INSERT INTO emp.schedules (name, document, next_at_ms, actor, created_at_ms, updated_at_ms)
  VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (name) DO UPDATE SET document = excluded.document,
  next_at_ms = excluded.next_at_ms, actor = excluded.actor, updated_at_ms = excluded.updated_at_ms`;
const remove = 'DELETE FROM emp.schedules WHERE name = $1 RETURNING name';
const due = `${columns} WHERE (next_at_ms, name) > ($1, $2) AND next_at_ms <= $3
  ORDER BY next_at_ms, name LIMIT $4`;
const advance = `UPDATE emp.schedules SET next_at_ms = $1, last = $2, last_job = coalesce($3, last_job)
  WHERE name = $4 AND next_at_ms = $5 RETURNING name`;

async function putSchedule(tx: Transaction, saved: SavedSchedule): Promise<Schedule> {
  await tx.query(lock);
  const [row] = await tx.query(`${columns} WHERE name = $1`, [saved.name]);
  if (row === undefined) {
    const [all] = await tx.query('SELECT count(*)::int AS n FROM emp.schedules');
    checkSchedules(Number(all?.n));
  }
  const kept = keptSchedule(row === undefined ? null : scheduleOf(row), saved);
  const { name, nextAtMs, actor, createdAtMs, updatedAtMs } = kept;
  await tx.query(put, [name, JSON.stringify(saved.definition), nextAtMs, actor, createdAtMs, updatedAtMs]);
  await writeEntries(tx, savedFact(kept));
  return kept;
}

async function advanceSchedule(tx: Transaction, asked: AdvancedSchedule): Promise<Fenced<boolean>> {
  if (!(await leaseHolds(tx, asked.lease))) return { kind: 'staleSingleton' };
  const { name, fromMs, nextAtMs, last } = asked;
  const moved = await tx.query(advance, [nextAtMs, JSON.stringify(last), last.jobId, name, fromMs]);
  if (moved.length === 0) return { kind: 'ok', value: false };
  await writeEntries(tx, advancedFact(asked));
  return { kind: 'ok', value: true };
}

type ScheduleMethods =
  | 'putSchedule'
  | 'removeSchedule'
  | 'listSchedules'
  | 'dueSchedules'
  | 'advanceSchedule';

export function scheduleMethods(db: Database): Pick<Records, ScheduleMethods> {
  return {
    putSchedule: (saved) => db.transaction((tx) => putSchedule(tx, saved)),
    removeSchedule: (asked) =>
      db.transaction(async (tx) => {
        if ((await tx.query(remove, [asked.name])).length === 0) return false;
        await writeEntries(tx, removedFact(asked));
        return true;
      }),
    listSchedules: async () => (await db.query(`${columns} ORDER BY name`)).map(scheduleOf),
    dueSchedules: async ({ nowMs, limit, after }) => {
      const values = [after?.nextAtMs ?? -1, after?.name ?? '', nowMs, checkLimit(limit, 1_000)];
      return (await db.query(due, values)).map(scheduleOf);
    },
    advanceSchedule: (asked) => db.transaction((tx) => advanceSchedule(tx, asked)),
  };
}
