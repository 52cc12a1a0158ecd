import { checkLimit } from '#protocol/page-cursor.ts';
import type { Records } from '#protocol/records.ts';
import type { Database } from './database.ts';
import { leaseHolds } from './singletons.ts';

/** What is old enough is forgotten in pages; the rest of a job goes with its row (ON DELETE CASCADE). */

const ended = `SELECT id FROM jobs WHERE finished_at_ms IS NOT NULL AND finished_at_ms < ?
  ORDER BY finished_at_ms, ordinal LIMIT ?`;
// A job that was requeued since it was listed has no end any more.
const forget = 'DELETE FROM jobs WHERE id = ? AND finished_at_ms IS NOT NULL AND finished_at_ms < ?';

const oldest = `SELECT id, at_ms FROM events WHERE id <= (SELECT value FROM event_marks WHERE name = 'seq')
  ORDER BY id LIMIT ?`;
const forgetUpTo = 'DELETE FROM events WHERE id <= ?';

type Forgotten = Awaited<ReturnType<Records['forgetJobs']>>;
type ForgottenEvents = Awaited<ReturnType<Records['forgetEvents']>>;

export function retentionMethods(
  db: Database,
  nowMs: () => number,
): Pick<Records, 'endedJobs' | 'forgetJobs' | 'forgetEvents'> {
  return {
    endedJobs: ({ beforeMs, limit }) =>
      db.readOne(() => db.all(ended, beforeMs, checkLimit(limit, 1_000)).map((row) => String(row.id))),

    forgetJobs: ({ jobIds, beforeMs, lease }) =>
      db.write((): Forgotten => {
        checkLimit(jobIds.length, 1_000);
        if (!leaseHolds(db, lease, nowMs())) return { kind: 'staleSingleton' };
        return { kind: 'ok', value: jobIds.filter((jobId) => db.run(forget, jobId, beforeMs) > 0) };
      }, jobIds.length),

    forgetEvents: ({ beforeMs, limit, lease }) =>
      db.write((): ForgottenEvents => {
        if (!leaseHolds(db, lease, nowMs())) return { kind: 'staleSingleton' };
        checkLimit(limit, 10_000);
        // Most of the time none is old enough: a page is read only where the first one is.
        const first = db.get(oldest, 1);
        if (first === undefined || Number(first.at_ms) >= beforeMs) return { kind: 'ok', value: 0 };
        const rows = db.all(oldest, limit);
        const kept = rows.findIndex((row) => Number(row.at_ms) >= beforeMs);
        const old = kept < 0 ? rows : rows.slice(0, kept);
        const last = old.at(-1);
        return { kind: 'ok', value: last === undefined ? 0 : db.run(forgetUpTo, Number(last.id)) };
      }, limit),
  };
}
