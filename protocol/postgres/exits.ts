import { type JobRow, newEntries } from '#protocol/ledger.ts';
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
import type { Database, Transaction } from './database.ts';
import type { GroupCommit } from './group-commit.ts';
import { readJobs } from './job-rows.ts';
import { holdJobs, writeJobs } from './ledgers.ts';
import { leaseHolds } from './singletons.ts';

/** How runs and jobs end, and how a job begins again. */

type Requeued = Awaited<ReturnType<Records['requeueJob']>>;

async function requeueJob(tx: Transaction, by: ByActor): Promise<Requeued> {
  const entries = newEntries();
  const held = await holdJobs(tx, [by.jobId], entries);
  const ledger = held.get(by.jobId)?.ledger;
  if (!ledger) return { kind: 'unknown' };
  const answer = requeue(ledger, by);
  if (answer.kind !== 'requeued') return answer;
  await writeJobs(tx, held, entries);
  const [stored] = await readJobs(tx, [by.jobId]);
  if (!stored) throw new Error(`requeued job ${by.jobId} has no row`);
  return { kind: 'requeued', job: stored.job };
}

const expiring = `SELECT id FROM emp.jobs WHERE expires_at_ms IS NOT NULL AND token IS NULL AND state IN ('scheduled', 'held', 'waiting')
  AND expires_at_ms <= $1 ORDER BY expires_at_ms, ordinal LIMIT $2`;

type Expired = Awaited<ReturnType<Records['expireTtl']>>;

async function passedTtl(
  db: Pick<Database, 'query'>,
  { nowMs, limit }: { nowMs: number; limit: number },
): Promise<JobId[]> {
  return (await db.query<{ id: JobId }>(expiring, [nowMs, limit])).map((row) => row.id);
}

async function expireTtl(
  tx: Transaction,
  { nowMs, limit, lease, jobIds }: Parameters<Records['expireTtl']>[0],
): Promise<Expired> {
  if (!(await leaseHolds(tx, lease))) return { kind: 'staleSingleton' } satisfies Fenced<never>;
  const ids = jobIds?.slice(0, limit) ?? (await passedTtl(tx, { nowMs, limit }));
  const entries = newEntries();
  const held = await holdJobs(tx, ids, entries);
  const ended: JobRow[] = [];
  for (const id of ids) {
    const ledger = held.get(id)?.ledger;
    // Claimed or cancelled since the list was read: no longer ours to end.
    if (!ledger || !ttlPassed(ledger.row, nowMs)) continue;
    expireUnclaimed(ledger, nowMs);
    ended.push(ledger.row);
  }
  await writeJobs(tx, held, entries);
  return { kind: 'ok', value: ended.map(({ id, fenceFloor }) => ({ jobId: id, fenceFloor })) };
}

type ExitMethods =
  | 'completeJob'
  | 'exitJob'
  | 'requestCancel'
  | 'finishCancel'
  | 'requeueJob'
  | 'passedTtl'
  | 'expireTtl';

export function exitMethods(db: Database, commits: GroupCommit): Pick<Records, ExitMethods> {
  const change = <T>(jobId: JobId, act: (ledger: Parameters<typeof exitRun>[0]) => T) =>
    commits.change([jobId], (find) => {
      const ledger = find(jobId);
      return ledger ? act(ledger) : ({ kind: 'unknown' } as const);
    });
  return {
    completeJob: (completion) => change(completion.jobId, (ledger) => completeRun(ledger, completion)),
    exitJob: (request) => change(request.jobId, (ledger) => exitRun(ledger, request)),
    requestCancel: (by) => change(by.jobId, (ledger) => requestCancel(ledger, by)),
    finishCancel: (by) => change(by.jobId, (ledger) => finishCancel(ledger, by)),
    requeueJob: (by) => db.transaction((tx) => requeueJob(tx, by)),
    passedTtl: (options) => passedTtl(db, options),
    expireTtl: (options) => db.transaction((tx) => expireTtl(tx, options)),
  };
}
