import {
  deadReason,
  decideExit,
  type ExitDecision,
  exitError,
  exitOutcome,
  exitReason,
  tokenStands,
} from './exit.ts';
import { isTerminal } from './job.ts';
import {
  closeRun,
  guardOf,
  type JobLedger,
  type JobRow,
  openRun,
  recordChange,
  recordFact,
  startOf,
  updateRow,
} from './ledger.ts';
import { machineKey } from './names.ts';
import type { CompleteAnswer, ExitRowAnswer, ExitRowRequest, Records } from './records.ts';
import { compareTokens } from './token.ts';

/** How runs end: completion, and every other exit from a lease (docs/protocol.md §1). */

export type Completion = Parameters<Records['completeJob']>[0];

export function completeRun(ledger: JobLedger, completion: Completion): CompleteAnswer {
  const { jobId, token, holder, result, nowMs } = completion;
  const { row, entries } = ledger;
  const { fenceFloor, state } = row;
  const end = { token, outcome: 'succeeded', counted: false, error: null, nowMs } as const;
  // Too late to matter: only the run's own row is closed.
  if (isTerminal(state)) {
    const run = ledger.runs.get(token);
    // Two primaries of one Broker could grant one token twice: a repeat has the same holder as well.
    const isHolder = run?.machineId === holder.machineId && run.incarnation === holder.incarnation;
    const same = state === 'succeeded' && run?.outcome === 'succeeded' && isHolder;
    closeRun(ledger, { ...end, outcome: 'released' });
    return { kind: 'terminal', state, fenceFloor, same };
  }
  if (!tokenStands(guardOf(row), token, 'complete')) {
    closeRun(ledger, { ...end, outcome: 'released' });
    return { kind: 'staleLease', fenceFloor };
  }
  const startedAtMs = startOf(ledger, token, nowMs);
  const runs = openRun(ledger, { token, holder, startedAtMs });
  closeRun(ledger, end);
  updateRow(ledger, {
    state: 'succeeded',
    token,
    machineId: holder.machineId,
    incarnation: holder.incarnation,
    progress: 1,
    error: null,
    reason: null,
    startedAtMs,
    finishedAtMs: nowMs,
  });
  ledger.result = result;
  const actor = machineKey(holder);
  const change = { jobId, from: state, to: 'succeeded', operation: 'complete', actor } as const;
  recordChange(entries, { ...change, reason: null, token, atMs: nowMs });
  const data = { token, ...holder, attempts: row.attempts, runs, outputs: result.outputs.length };
  recordFact(entries, { type: 'job.succeeded', jobId, machineId: holder.machineId, data, atMs: nowMs });
  return { kind: 'committed', fenceFloor, limited: row.limited };
}

export function exitRun(ledger: JobLedger, asked: ExitRowRequest): ExitRowAnswer {
  const { row } = ledger;
  // A machine's word alone cancels nothing: what told it may have been meant for a former life.
  const isAsked = asked.cause.kind !== 'cancel' || row.cancelRequestedAtMs !== null || isTerminal(row.state);
  const request: ExitRowRequest = isAsked
    ? asked
    : { ...asked, cause: { kind: 'release', reason: 'stopped for a cancel that nobody asks for any more' } };
  const { token, cause, holder, nowMs } = request;
  const end = { token, outcome: exitOutcome(cause), error: exitError(cause), nowMs };
  const runs = row.runs + (ledger.runs.has(token) ? 0 : 1);
  const decision = decideExit({ row: guardOf(row), token, cause, runs, nowMs });
  if (decision.kind === 'late') {
    closeRun(ledger, { ...end, counted: false });
    return { kind: 'ok', applied: false, ...presentOf(row) };
  }
  const startedAtMs = startOf(ledger, token, nowMs);
  openRun(ledger, { token, holder, startedAtMs });
  closeRun(ledger, { ...end, counted: decision.counted });
  const last = exitReason(cause);
  const { usedUp } = decision;
  const reason = usedUp
    ? deadReason({ usedUp, runs: runsOf(ledger), maxAttempts: row.maxAttempts, last })
    : last;
  recordExit(ledger, { request, decision, reason });
  changeRow(ledger, { request, decision, reason, startedAtMs });
  return { kind: 'ok', applied: true, ...presentOf(ledger.row) };
}

/** What the Broker's step of an exit has to know of the row. */
function presentOf(row: JobRow) {
  const { state, fenceFloor, attempts, runs, notBeforeMs, cancelRequestedAtMs, limited } = row;
  const cancelRequested = cancelRequestedAtMs !== null && !isTerminal(state);
  return { state, fenceFloor, attempts, runs, notBeforeMs, cancelRequested, limited };
}

function runsOf(ledger: JobLedger) {
  return [...ledger.runs.values()]
    .sort((a, b) => a.run - b.run)
    .map(({ machineId, incarnation, outcome, counted }) => {
      return { ref: { machineId, incarnation }, outcome, counted };
    });
}

interface AppliedExit {
  request: ExitRowRequest;
  decision: Extract<ExitDecision, { kind: 'exit' }>;
  reason: string;
}

/** The row after an exit. It names the newest run; progress starts anew unless the job is over. */
function changeRow(ledger: JobLedger, exit: AppliedExit & { startedAtMs: number }): void {
  const { token, holder, cause, nowMs } = exit.request;
  const { state, fenceFloor, attempts, notBeforeMs } = exit.decision;
  const { row } = ledger;
  const over = isTerminal(state);
  const newest = row.token === null || compareTokens(row.token, token) <= 0;
  updateRow(ledger, {
    state,
    fenceFloor,
    attempts,
    notBeforeMs,
    finishedAtMs: over ? nowMs : null,
    reason: over ? exit.reason : null,
    error: cause.kind === 'fail' ? cause.error : row.error,
    brokeredAtMs: row.brokeredAtMs ?? nowMs,
  });
  // It never ran: the limit of runs is for what did, and so is the end of its time to live.
  if (state === 'held' && cause.kind === 'withhold') return takeBack(ledger);
  if (!newest) return;
  const { machineId, incarnation } = holder;
  const progress = over ? row.progress : 0;
  updateRow(ledger, { token, machineId, incarnation, startedAtMs: exit.startedAtMs, progress });
}

/** A run that was forbidden leaves nothing on a row that no other run has touched. */
function takeBack(ledger: JobLedger): void {
  const { row } = ledger;
  const runsAtRequeue = row.runsAtRequeue + 1;
  updateRow(ledger, { limited: true, runsAtRequeue });
  if (row.runs > runsAtRequeue) return;
  updateRow(ledger, { token: null, machineId: null, incarnation: null, startedAtMs: null, progress: 0 });
}

function recordExit({ row, entries }: JobLedger, { request, decision, reason }: AppliedExit): void {
  const { jobId, token, cause, holder, actor, nowMs } = request;
  const { state, attempts, notBeforeMs } = decision;
  if (state !== row.state || state !== 'leased') {
    const change = { jobId, from: row.state, to: state, operation: cause.kind, actor, reason, token };
    recordChange(entries, { ...change, atMs: nowMs });
  }
  const fact = { jobId, machineId: holder.machineId, atMs: nowMs };
  const counts = { attempts, runs: row.runs };
  const run = { token, ...holder, ...counts };
  const text = reason.slice(0, 2_000);
  if (state === 'dead')
    recordFact(entries, { ...fact, type: 'job.dead', data: { ...counts, reason: text, token } });
  else if (state === 'cancelled')
    recordFact(entries, { ...fact, type: 'job.cancelled', data: { ...counts, actor, reason: text } });
  else if (cause.kind !== 'fail') {
    const type = cause.kind === 'expire' ? 'job.expired' : 'job.released';
    recordFact(entries, { ...fact, type, data: { ...run, reason: text, state } });
  } else if (state === 'failed')
    recordFact(entries, { ...fact, type: 'job.failed', data: { ...run, error: cause.error } });
  else {
    const data = { ...run, error: cause.error, state, notBeforeMs };
    recordFact(entries, { ...fact, type: 'job.retried', data });
  }
}
