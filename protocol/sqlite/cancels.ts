import { isTerminal, type JobState } from '#protocol/job.ts';
import type { CancelRowAnswer, Fenced, Records } from '#protocol/records.ts';
import { maxToken, tokenAfter, zeroToken } from '#protocol/token.ts';
import type { Database } from './database.ts';
import { type Guard, readGuard, readJob } from './job-rows.ts';
import { recordChange, recordFact } from './ledger.ts';
import { closeRun } from './runs.ts';
import { leaseStands } from './singletons.ts';

/** How jobs end or begin again by a person's will or by their own time limit (docs/protocol.md §2). */

type ByActor = Parameters<Records['requestCancel']>[0];

function requestCancel(db: Database, { jobId, actor, nowMs }: ByActor): CancelRowAnswer {
  const guard = readGuard(db, jobId);
  if (!guard) return { kind: 'unknown' };
  if (guard.state === 'cancelled') return { kind: 'already' };
  if (isTerminal(guard.state)) return { kind: 'tooLate', state: guard.state };
  if (guard.cancelRequested) return { kind: 'already' };
  db.run('UPDATE jobs SET cancel_requested_at_ms = ? WHERE ordinal = ?', nowMs, guard.ordinal);
  recordFact(db, { type: 'job.cancel_requested', jobId, machineId: null, data: { actor }, atMs: nowMs });
  const { machineId, incarnation, fenceFloor } = guard;
  const held = guard.state === 'leased' && machineId !== null && incarnation !== null;
  return { kind: 'requested', fenceFloor, holder: held ? { machineId, incarnation } : null };
}

const cancelRow = `UPDATE jobs SET state = 'cancelled', fence_floor = CAST(? AS INTEGER), finished_at_ms = ?, reason = ? WHERE ordinal = ?`;

/** A lease that ends by this is fenced like by any other exit. */
function floorAfterCancel(guard: Guard): string {
  return guard.state === 'leased' && guard.token !== null
    ? maxToken(guard.fenceFloor, tokenAfter(guard.token))
    : guard.fenceFloor;
}

function finishCancel(
  db: Database,
  { jobId, actor, nowMs }: ByActor,
): { kind: 'cancelled' | 'tooLate' | 'unknown' } {
  const guard = readGuard(db, jobId);
  if (!guard) return { kind: 'unknown' };
  if (guard.state === 'cancelled') return { kind: 'cancelled' };
  // An operator may have requeued the job since: that took the request back.
  if (isTerminal(guard.state) || !guard.cancelRequested) return { kind: 'tooLate' };
  const reason = 'cancelled on request';
  if (guard.token !== null)
    closeRun(db, guard, { token: guard.token, outcome: 'cancelled', counted: false, error: null, nowMs });
  db.run(cancelRow, floorAfterCancel(guard), nowMs, reason, guard.ordinal);
  const { ordinal, state, token, attempts, runs } = guard;
  recordChange(db, {
    ordinal,
    from: state,
    to: 'cancelled',
    operation: 'cancel',
    actor,
    reason,
    token,
    atMs: nowMs,
  });
  recordFact(db, {
    type: 'job.cancelled',
    jobId,
    machineId: guard.machineId,
    data: { attempts, runs, actor, reason },
    atMs: nowMs,
  });
  return { kind: 'cancelled' };
}

/** The TTL has done its work when an operator asks for another try, so it goes too. */
const requeueRow = `UPDATE jobs SET state = 'waiting', fence_floor = CAST(? AS INTEGER), attempts = 0, runs_at_requeue = runs, not_before_ms = NULL,
  expires_at_ms = NULL, started_at_ms = NULL, finished_at_ms = NULL, cancel_requested_at_ms = NULL, brokered_at_ms = NULL, progress = 0,
  error = NULL, reason = NULL WHERE ordinal = ?`;

function requeue(db: Database, { jobId, actor, nowMs }: ByActor): Awaited<ReturnType<Records['requeueJob']>> {
  const guard = readGuard(db, jobId);
  if (!guard) return { kind: 'unknown' };
  if (guard.state === 'succeeded') return { kind: 'succeeded' };
  if (!isTerminal(guard.state)) return { kind: 'notTerminal', state: guard.state };
  const fenceFloor = tokenAfter(maxToken(guard.fenceFloor, guard.token ?? zeroToken));
  db.run(requeueRow, fenceFloor, guard.ordinal);
  const { ordinal, state, token } = guard;
  recordChange(db, {
    ordinal,
    from: state,
    to: 'waiting',
    operation: 'requeue',
    actor,
    reason: null,
    token,
    atMs: nowMs,
  });
  recordFact(db, { type: 'job.requeued', jobId, machineId: null, data: { actor, fenceFloor }, atMs: nowMs });
  const job = readJob(db, jobId);
  if (!job) throw new Error(`requeued job ${jobId} has no row`);
  return { kind: 'requeued', job };
}

const expiring = `SELECT id FROM jobs INDEXED BY jobs_expiring WHERE expires_at_ms IS NOT NULL AND token IS NULL AND state IN ('scheduled', 'held', 'waiting')
  AND expires_at_ms <= ? ORDER BY expires_at_ms, ordinal LIMIT ?`;

type Expired = Awaited<ReturnType<Records['expireTtl']>>;

function expireTtl(db: Database, { nowMs, limit }: { nowMs: number; limit: number }) {
  return db.all(expiring, nowMs, limit).map((row) => {
    const jobId = String(row.id);
    const guard = readGuard(db, jobId);
    if (!guard) throw new Error(`expiring job ${jobId} has no row`);
    const reason = 'no machine claimed it within its time to live';
    db.run(
      "UPDATE jobs SET state = 'dead', finished_at_ms = ?, reason = ? WHERE ordinal = ?",
      nowMs,
      reason,
      guard.ordinal,
    );
    const { ordinal, state, attempts, runs, fenceFloor } = guard;
    recordChange(db, {
      ordinal,
      from: state,
      to: 'dead',
      operation: 'ttl',
      actor: 'sweeper',
      reason,
      token: null,
      atMs: nowMs,
    });
    recordFact(db, {
      type: 'job.dead',
      jobId,
      machineId: null,
      data: { attempts, runs, reason, token: null },
      atMs: nowMs,
    });
    return { jobId, fenceFloor };
  });
}

const ended = 'SELECT CAST(fence_floor AS TEXT) AS fence_floor, state FROM jobs WHERE id = ?';

export function cancelMethods(
  db: Database,
  nowMs: () => number,
): Pick<Records, 'requestCancel' | 'finishCancel' | 'requeueJob' | 'expireTtl' | 'endedAmong'> {
  return {
    requestCancel: (options) => db.write(() => requestCancel(db, options)),
    finishCancel: (options) => db.write(() => finishCancel(db, options)),
    requeueJob: (options) => db.write(() => requeue(db, options)),

    expireTtl: (options) =>
      db.write((): Expired => {
        if (!leaseStands(db, options.lease, nowMs()))
          return { kind: 'staleSingleton' } satisfies Fenced<never>;
        return { kind: 'ok', value: expireTtl(db, options) };
      }, options.limit),

    endedAmong: (jobIds) =>
      db.read(() =>
        jobIds.flatMap((jobId) => {
          const row = db.get(ended, jobId);
          const known = row !== undefined;
          if (known && !isTerminal(row.state as JobState)) return [];
          return [{ jobId, fenceFloor: known ? String(row.fence_floor) : zeroToken, known }];
        }),
      ),
  };
}
