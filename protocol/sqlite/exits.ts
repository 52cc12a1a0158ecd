import {
  deadReason,
  decideExit,
  type ExitDecision,
  exitError,
  exitOutcome,
  exitReason,
  tokenStands,
} from '#protocol/exit.ts';
import { isTerminal, type RunOutcome } from '#protocol/job.ts';
import { machineKey } from '#protocol/names.ts';
import type { CompleteAnswer, ExitRowAnswer, ExitRowRequest, Records } from '#protocol/records.ts';
import { compareTokens, type FencingToken } from '#protocol/token.ts';
import type { Database } from './database.ts';
import { type Guard, readGuard } from './job-rows.ts';
import { recordChange, recordFact } from './ledger.ts';
import { closeRun, openRun, readRun } from './runs.ts';

/** How runs end: completion, and every other exit from a lease (docs/protocol.md §1). */

type Completion = Parameters<Records['completeJob']>[0];

const succeed = `UPDATE jobs SET state = 'succeeded', token = CAST(? AS INTEGER), machine_id = ?, incarnation = ?, progress = 1, error = NULL, reason = NULL,
  started_at_ms = ?, finished_at_ms = ? WHERE ordinal = ?`;

/** When this run began: as recorded, else this is the first we hear of it. */
function startOf(db: Database, guard: Guard, token: FencingToken, nowMs: number): number {
  const row = db.get(
    'SELECT started_at_ms FROM runs WHERE job = ? AND token = CAST(? AS INTEGER)',
    guard.ordinal,
    token,
  );
  return row ? Number(row.started_at_ms) : nowMs;
}

function complete(db: Database, { jobId, token, holder, result, nowMs }: Completion): CompleteAnswer {
  const guard = readGuard(db, jobId);
  if (!guard) return { kind: 'unknown' };
  const { fenceFloor, state } = guard;
  const end = { token, outcome: 'succeeded', counted: false, error: null, nowMs } as const;
  // Too late to matter: only the run's own row is closed.
  if (isTerminal(state)) {
    const run = readRun(db, guard.ordinal, token);
    const same = state === 'succeeded' && run?.outcome === 'succeeded';
    closeRun(db, guard, { ...end, outcome: 'released' });
    return { kind: 'terminal', state, fenceFloor, same };
  }
  if (!tokenStands(guard, token, 'complete')) {
    closeRun(db, guard, { ...end, outcome: 'released' });
    return { kind: 'staleLease', fenceFloor };
  }
  const startedAtMs = startOf(db, guard, token, nowMs);
  const runs = openRun(db, guard, { token, holder, startedAtMs });
  closeRun(db, guard, end);
  db.run(succeed, token, holder.machineId, holder.incarnation, startedAtMs, nowMs, guard.ordinal);
  db.run('INSERT INTO job_results (job, document) VALUES (?, ?)', guard.ordinal, JSON.stringify(result));
  const actor = machineKey(holder);
  recordChange(db, {
    ordinal: guard.ordinal,
    from: state,
    to: 'succeeded',
    operation: 'complete',
    actor,
    reason: null,
    token,
    atMs: nowMs,
  });
  const data = { token, ...holder, attempts: guard.attempts, runs, outputs: result.outputs.length };
  recordFact(db, { type: 'job.succeeded', jobId, machineId: holder.machineId, data, atMs: nowMs });
  return { kind: 'committed', fenceFloor };
}

function runsOf(db: Database, guard: Guard) {
  return db
    .all(
      'SELECT machine_id, incarnation, outcome, counted FROM runs WHERE job = ? ORDER BY run',
      guard.ordinal,
    )
    .map((row) => ({
      ref: { machineId: String(row.machine_id), incarnation: Number(row.incarnation) },
      outcome: row.outcome as RunOutcome,
      counted: row.counted === 1,
    }));
}

function exit(db: Database, request: ExitRowRequest): ExitRowAnswer {
  const { jobId, token, cause, holder, nowMs } = request;
  const guard = readGuard(db, jobId);
  if (!guard) return { kind: 'unknown' };
  const end = { token, outcome: exitOutcome(cause), error: exitError(cause), nowMs };
  const runs = guard.runs + (readRun(db, guard.ordinal, token) ? 0 : 1);
  const decision = decideExit({ row: guard, token, cause, runs, nowMs });
  if (decision.kind === 'late') {
    closeRun(db, guard, { ...end, counted: false });
    const { state, fenceFloor, attempts, notBeforeMs } = guard;
    return { kind: 'ok', applied: false, state, fenceFloor, attempts, runs: guard.runs, notBeforeMs };
  }
  const startedAtMs = startOf(db, guard, token, nowMs);
  openRun(db, guard, { token, holder, startedAtMs });
  closeRun(db, guard, { ...end, counted: decision.counted });
  const last = exitReason(cause);
  const { state, usedUp } = decision;
  const reason = usedUp
    ? deadReason({ usedUp, runs: runsOf(db, guard), maxAttempts: guard.maxAttempts, last })
    : last;
  writeExit(db, guard, { request, decision, reason, startedAtMs });
  recordExit(db, guard, { request, decision, reason });
  const { fenceFloor, attempts, notBeforeMs } = decision;
  return { kind: 'ok', applied: true, state, fenceFloor, attempts, runs: guard.runs, notBeforeMs };
}

interface AppliedExit {
  request: ExitRowRequest;
  decision: Extract<ExitDecision, { kind: 'exit' }>;
  reason: string;
}

const writeExitRow = `UPDATE jobs SET state = ?, fence_floor = CAST(? AS INTEGER), attempts = ?, not_before_ms = ?, finished_at_ms = ?, reason = ?,
  error = coalesce(?, error), brokered_at_ms = coalesce(brokered_at_ms, ?) WHERE ordinal = ?`;
const writeHolder = `UPDATE jobs SET token = CAST(? AS INTEGER), machine_id = ?, incarnation = ?, started_at_ms = ?, progress = CASE ? WHEN 1 THEN progress ELSE 0 END
  WHERE ordinal = ?`;

/** The row after an exit. It names the newest run; progress starts anew unless the job is over. */
function writeExit(
  db: Database,
  guard: Guard,
  { request, decision, reason, startedAtMs }: AppliedExit & { startedAtMs: number },
): void {
  const { token, holder, cause, nowMs } = request;
  const over = isTerminal(decision.state);
  const error = cause.kind === 'fail' ? JSON.stringify(cause.error) : null;
  db.run(
    writeExitRow,
    decision.state,
    decision.fenceFloor,
    decision.attempts,
    decision.notBeforeMs,
    over ? nowMs : null,
    over ? reason : null,
    error,
    nowMs,
    guard.ordinal,
  );
  if (guard.token !== null && compareTokens(guard.token, token) > 0) return;
  db.run(writeHolder, token, holder.machineId, holder.incarnation, startedAtMs, over ? 1 : 0, guard.ordinal);
}

function recordExit(db: Database, guard: Guard, { request, decision, reason }: AppliedExit): void {
  const { jobId, token, cause, holder, actor, nowMs } = request;
  const { state, attempts, notBeforeMs } = decision;
  if (state !== guard.state || state !== 'leased') {
    recordChange(db, {
      ordinal: guard.ordinal,
      from: guard.state,
      to: state,
      operation: cause.kind,
      actor,
      reason,
      token,
      atMs: nowMs,
    });
  }
  const fact = { jobId, machineId: holder.machineId, atMs: nowMs };
  const counts = { attempts, runs: guard.runs };
  const run = { token, ...holder, ...counts };
  const text = reason.slice(0, 2_000);
  if (state === 'dead')
    recordFact(db, { ...fact, type: 'job.dead', data: { ...counts, reason: text, token } });
  else if (state === 'cancelled')
    recordFact(db, { ...fact, type: 'job.cancelled', data: { ...counts, actor, reason: text } });
  else if (cause.kind === 'fail' && state === 'failed')
    recordFact(db, { ...fact, type: 'job.failed', data: { ...run, error: cause.error } });
  else if (cause.kind === 'fail')
    recordFact(db, {
      ...fact,
      type: 'job.retried',
      data: { ...run, error: cause.error, state, notBeforeMs },
    });
  else
    recordFact(db, {
      ...fact,
      type: cause.kind === 'expire' ? 'job.expired' : 'job.released',
      data: { ...run, reason: text, state },
    });
}

export function exitMethods(db: Database): Pick<Records, 'completeJob' | 'exitJob'> {
  return {
    completeJob: (completion) => db.write(() => complete(db, completion)),
    exitJob: (request) => db.write(() => exit(db, request)),
  };
}
