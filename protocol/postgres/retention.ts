import { checkLimit } from '#protocol/page-cursor.ts';
import type { Fenced, Records } from '#protocol/records.ts';
import type { Database, Transaction } from './database.ts';
import { leaseHolds } from './singletons.ts';

/** What is old enough is forgotten in pages; the rest of a job goes with its row (ON DELETE CASCADE). */

const ended = `SELECT id FROM emp.jobs WHERE finished_at_ms IS NOT NULL AND finished_at_ms < $1
  ORDER BY finished_at_ms, ordinal LIMIT $2`;
// In the order in which all who hold several rows take them. A job that was requeued has no end any more.
const forget = `DELETE FROM emp.jobs WHERE id IN (SELECT id FROM emp.jobs WHERE id = ANY($1)
    AND finished_at_ms IS NOT NULL AND finished_at_ms < $2 ORDER BY id FOR UPDATE) RETURNING id`;

const forgetOldest = `WITH oldest AS MATERIALIZED (SELECT seq, at_ms FROM emp.events WHERE seq IS NOT NULL ORDER BY seq LIMIT $2),
  kept AS (SELECT min(seq) AS seq FROM oldest WHERE at_ms >= $1)
  DELETE FROM emp.events e USING oldest o, kept WHERE e.seq = o.seq AND (kept.seq IS NULL OR o.seq < kept.seq) RETURNING e.seq`;

async function forgetJobs(
  tx: Transaction,
  { jobIds, beforeMs, lease }: Parameters<Records['forgetJobs']>[0],
): Promise<Fenced<string[]>> {
  if (!(await leaseHolds(tx, lease))) return { kind: 'staleSingleton' };
  const gone = new Set((await tx.query<{ id: string }>(forget, [jobIds, beforeMs])).map((row) => row.id));
  return { kind: 'ok', value: jobIds.filter((jobId) => gone.has(jobId)) };
}

async function forgetEvents(
  tx: Transaction,
  { beforeMs, limit, lease }: Parameters<Records['forgetEvents']>[0],
): Promise<Fenced<number>> {
  if (!(await leaseHolds(tx, lease))) return { kind: 'staleSingleton' };
  return { kind: 'ok', value: (await tx.query(forgetOldest, [beforeMs, limit])).length };
}

export function retentionMethods(db: Database): Pick<Records, 'endedJobs' | 'forgetJobs' | 'forgetEvents'> {
  return {
    endedJobs: async ({ beforeMs, limit }) =>
      (await db.query<{ id: string }>(ended, [beforeMs, checkLimit(limit, 1_000)])).map((row) => row.id),
    forgetJobs: async (options) => {
      checkLimit(options.jobIds.length, 1_000);
      return await db.transaction((tx) => forgetJobs(tx, options));
    },
    forgetEvents: async (options) => {
      checkLimit(options.limit, 10_000);
      return await db.transaction((tx) => forgetEvents(tx, options));
    },
  };
}
