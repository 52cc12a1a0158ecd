import type { Records } from '#protocol/records.ts';
import { checkPreview, noJobForPreview } from '#protocol/records-checks.ts';
import type { Database } from './database.ts';

/** What a run leaves besides its result, and the runs that have gone on for too long. */

const putPreview = `INSERT INTO emp.previews AS p (job, token, mime, bytes, stored_at_ms)
  SELECT ordinal, $2, $3, $4, $5 FROM emp.jobs WHERE id = $1
  ON CONFLICT (job) DO UPDATE SET token = excluded.token, mime = excluded.mime, bytes = excluded.bytes, stored_at_ms = excluded.stored_at_ms
  WHERE excluded.token >= p.token`;
const known = 'SELECT 1 FROM emp.jobs WHERE id = $1';
const getPreview =
  'SELECT p.mime, p.bytes, p.token FROM emp.previews p JOIN emp.jobs j ON j.ordinal = p.job WHERE j.id = $1';

const overdue = `SELECT id, token, machine_id, incarnation FROM emp.jobs WHERE state = 'leased' AND started_at_ms + max_run_ms < $1
  ORDER BY started_at_ms + max_run_ms, ordinal LIMIT $2`;

export function runMethods(db: Database): Pick<Records, 'overdueRuns' | 'putPreview' | 'getPreview'> {
  return {
    overdueRuns: async ({ nowMs, limit }) =>
      (await db.query(overdue, [nowMs, limit])).map((row) => ({
        jobId: String(row.id),
        token: String(row.token),
        machineId: String(row.machine_id),
        incarnation: Number(row.incarnation),
      })),

    putPreview: async ({ jobId, token, mime, bytes, nowMs }) => {
      checkPreview(jobId, bytes);
      await db.transaction(async (tx) => {
        if ((await tx.query(known, [jobId])).length === 0) throw noJobForPreview(jobId);
        await tx.query(putPreview, [jobId, token, mime, bytes, nowMs]);
      });
    },

    getPreview: async (jobId) => {
      const [row] = await db.query<{ mime: string; bytes: Buffer; token: string }>(getPreview, [jobId]);
      return row ? { mime: row.mime, bytes: row.bytes, token: row.token } : null;
    },
  };
}
