import type { Records } from '#protocol/records.ts';
import { checkPreview, noJobForPreview } from '#protocol/records-checks.ts';
import type { Database } from './database.ts';

/** What a run leaves besides its result, and the runs that have gone on for too long. */

const putPreview = `INSERT INTO previews (job, token, mime, bytes, stored_at_ms) VALUES (?, ?, ?, ?, ?)
  ON CONFLICT (job) DO UPDATE SET token = excluded.token, mime = excluded.mime, bytes = excluded.bytes, stored_at_ms = excluded.stored_at_ms
  WHERE excluded.token >= previews.token`;

const overdue = `SELECT id, CAST(token AS TEXT) AS token, machine_id, incarnation FROM jobs INDEXED BY jobs_overdue
  WHERE state = 'leased' AND started_at_ms + max_run_ms < ? ORDER BY started_at_ms + max_run_ms, ordinal LIMIT ?`;

export function runMethods(db: Database): Pick<Records, 'overdueRuns' | 'putPreview' | 'getPreview'> {
  return {
    overdueRuns: ({ nowMs, limit }) =>
      db.read(() =>
        db.all(overdue, nowMs, limit).map((row) => ({
          jobId: String(row.id),
          token: String(row.token),
          machineId: String(row.machine_id),
          incarnation: Number(row.incarnation),
        })),
      ),

    putPreview: ({ jobId, token, mime, bytes, nowMs }) =>
      db.write(() => {
        checkPreview(jobId, bytes);
        const job = db.get('SELECT ordinal FROM jobs WHERE id = ?', jobId);
        if (!job) throw noJobForPreview(jobId);
        db.run(putPreview, Number(job.ordinal), token, mime, bytes, nowMs);
      }),

    getPreview: (jobId) =>
      db.read(() => {
        const row = db.get(
          'SELECT p.mime, p.bytes, CAST(p.token AS TEXT) AS token FROM previews p JOIN jobs j ON j.ordinal = p.job WHERE j.id = ?',
          jobId,
        );
        return row
          ? { mime: String(row.mime), bytes: row.bytes as Uint8Array, token: String(row.token) }
          : null;
      }),
  };
}
