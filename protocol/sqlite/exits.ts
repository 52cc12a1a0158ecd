import { isTerminal, type JobState } from '#protocol/job.ts';
import type { JobLedger } from '#protocol/ledger.ts';
import type { JobId } from '#protocol/names.ts';
import type { Fenced, Records } from '#protocol/records.ts';
import {
  type ByActor,
  expireUnclaimed,
  finishCancel,
  requestCancel,
  requeue,
  ttlPassed,
} from '#protocol/records-cancels.ts';
import { completeRun, exitRun } from '#protocol/records-exits.ts';
import { zeroToken } from '#protocol/token.ts';
import type { Database } from './database.ts';
import { readJob, stateIs } from './job-rows.ts';
import { changeJob } from './ledger.ts';
import { leaseHolds } from './singletons.ts';

/** How runs and jobs end, and how a job begins again. */

function requeueJob(db: Database, by: ByActor): Awaited<ReturnType<Records['requeueJob']>> {
  const answer = changeJob(db, by.jobId, (ledger) => requeue(ledger, by));
  if (answer === null) return { kind: 'unknown' };
  if (answer.kind !== 'requeued') return answer;
  const job = readJob(db, by.jobId);
  if (!job) throw new Error(`requeued job ${by.jobId} has no row`);
  return { kind: 'requeued', job };
}

const expiring = `SELECT id FROM jobs INDEXED BY jobs_expiring WHERE expires_at_ms IS NOT NULL AND token IS NULL
  AND ${stateIs('state', 'scheduled', 'held', 'waiting')}
  AND expires_at_ms <= ? ORDER BY expires_at_ms, ordinal LIMIT ?`;

type Expired = Awaited<ReturnType<Records['expireTtl']>>;

const passedTtl = (db: Database, { nowMs, limit }: { nowMs: number; limit: number }): JobId[] =>
  db.all(expiring, nowMs, limit).map((row) => String(row.id));

function expireTtl(db: Database, options: Parameters<Records['expireTtl']>[0]) {
  const { nowMs, limit } = options;
  const ids = options.jobIds?.slice(0, limit) ?? passedTtl(db, options);
  return ids.flatMap((jobId) => {
    const fenceFloor = changeJob(db, jobId, (ledger) => {
      // Claimed or ended since it was listed: no longer ours to end.
      if (!ttlPassed(ledger.row, nowMs)) return null;
      expireUnclaimed(ledger, nowMs);
      return ledger.row.fenceFloor;
    });
    return fenceFloor === null ? [] : [{ jobId, fenceFloor }];
  });
}

const present = 'SELECT CAST(fence_floor AS TEXT) AS fence_floor, state FROM jobs WHERE id = ?';

type ExitMethods =
  | 'completeJob'
  | 'exitJob'
  | 'requestCancel'
  | 'finishCancel'
  | 'requeueJob'
  | 'passedTtl'
  | 'expireTtl'
  | 'endedAmong';

export function exitMethods(db: Database, nowMs: () => number): Pick<Records, ExitMethods> {
  const change = <T>(jobId: JobId, act: (ledger: JobLedger) => T) =>
    db.write(() => changeJob(db, jobId, act) ?? ({ kind: 'unknown' } as const));
  return {
    completeJob: (completion) => change(completion.jobId, (ledger) => completeRun(ledger, completion)),
    exitJob: (request) => change(request.jobId, (ledger) => exitRun(ledger, request)),
    requestCancel: (by) => change(by.jobId, (ledger) => requestCancel(ledger, by)),
    finishCancel: (by) => change(by.jobId, (ledger) => finishCancel(ledger, by)),
    requeueJob: (by) => db.write(() => requeueJob(db, by)),

    passedTtl: (options) => db.read(() => passedTtl(db, options)),
    expireTtl: (options) =>
      db.write((): Expired => {
        if (!leaseHolds(db, options.lease, nowMs()))
          return { kind: 'staleSingleton' } satisfies Fenced<never>;
        return { kind: 'ok', value: expireTtl(db, options) };
      }, options.limit),

    endedAmong: (jobIds) =>
      db.read(() =>
        jobIds.flatMap((jobId) => {
          const row = db.get(present, jobId);
          const known = row !== undefined;
          if (known && row.state !== 'held' && !isTerminal(row.state as JobState)) return [];
          return [{ jobId, fenceFloor: known ? String(row.fence_floor) : zeroToken, known }];
        }),
      ),
  };
}
