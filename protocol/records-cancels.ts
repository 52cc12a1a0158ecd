import { isTerminal, type JobState } from './job.ts';
import { closeRun, type JobLedger, type JobRow, recordChange, recordFact, updateRow } from './ledger.ts';
import type { CancelRowAnswer, Records } from './records.ts';
import { type FencingToken, maxToken, requeueFloor, tokenAfter, zeroToken } from './token.ts';

/** How jobs end or begin again by a person's will or by their own time limit (docs/protocol.md §2). */

export type ByActor = Parameters<Records['requestCancel']>[0];

export function requestCancel(ledger: JobLedger, { jobId, actor, nowMs }: ByActor): CancelRowAnswer {
  const { state, cancelRequestedAtMs, machineId, incarnation, fenceFloor } = ledger.row;
  if (state === 'cancelled') return { kind: 'already', fenceFloor, ended: true };
  if (isTerminal(state)) return { kind: 'tooLate', state };
  if (cancelRequestedAtMs !== null) return { kind: 'already', fenceFloor, ended: false };
  updateRow(ledger, { cancelRequestedAtMs: nowMs });
  const fact = { jobId, machineId: null, data: { actor }, atMs: nowMs };
  recordFact(ledger.entries, { ...fact, type: 'job.cancel_requested' });
  const held = state === 'leased' && machineId !== null && incarnation !== null;
  return { kind: 'requested', fenceFloor, holder: held ? { machineId, incarnation } : null };
}

/** A lease that ends by this is fenced like by any other exit. */
function floorAfterCancel({ state, token, fenceFloor }: JobRow): FencingToken {
  return state === 'leased' && token !== null ? maxToken(fenceFloor, tokenAfter(token)) : fenceFloor;
}

export function finishCancel(
  ledger: JobLedger,
  { jobId, actor, nowMs }: ByActor,
): { kind: 'cancelled' | 'tooLate' } {
  const { row, entries } = ledger;
  const { state, token, attempts, runs } = row;
  if (state === 'cancelled') return { kind: 'cancelled' };
  // An operator may have requeued the job since: that took the request back.
  if (isTerminal(state) || row.cancelRequestedAtMs === null) return { kind: 'tooLate' };
  const reason = 'cancelled on request';
  if (token !== null) closeRun(ledger, { token, outcome: 'cancelled', counted: false, error: null, nowMs });
  const fenceFloor = floorAfterCancel(row);
  updateRow(ledger, { state: 'cancelled', fenceFloor, finishedAtMs: nowMs, reason });
  const change = { jobId, from: state, to: 'cancelled', operation: 'cancel', actor } as const;
  recordChange(entries, { ...change, reason, token, atMs: nowMs });
  const data = { attempts, runs, actor, reason };
  recordFact(entries, { type: 'job.cancelled', jobId, machineId: row.machineId, data, atMs: nowMs });
  return { kind: 'cancelled' };
}

/** The new life's row is left in the ledger. */
export function requeue(
  ledger: JobLedger,
  { jobId, actor, nowMs }: ByActor,
): { kind: 'requeued' } | { kind: 'notTerminal'; state: JobState } | { kind: 'succeeded' } {
  const { row, entries } = ledger;
  const { state, token } = row;
  if (state === 'succeeded') return { kind: 'succeeded' };
  if (!isTerminal(state)) return { kind: 'notTerminal', state };
  const fenceFloor = requeueFloor({ nowMs, newest: maxToken(row.fenceFloor, token ?? zeroToken) });
  const to: JobState = row.limited ? 'held' : 'waiting';
  updateRow(ledger, {
    state: to,
    fenceFloor,
    attempts: 0,
    runsAtRequeue: row.runs,
    notBeforeMs: null,
    // The TTL has done its work when an operator asks for another try, so it goes too.
    expiresAtMs: null,
    startedAtMs: null,
    finishedAtMs: null,
    cancelRequestedAtMs: null,
    brokeredAtMs: null,
    progress: 0,
    error: null,
    reason: null,
  });
  const change = { jobId, from: state, to, operation: 'requeue', actor } as const;
  recordChange(entries, { ...change, reason: null, token, atMs: nowMs });
  const data = { actor, fenceFloor };
  recordFact(entries, { type: 'job.requeued', jobId, machineId: null, data, atMs: nowMs });
  return { kind: 'requeued' };
}

/** Whether a job's time to live has passed before anybody claimed it. */
export function ttlPassed({ state, token, expiresAtMs }: JobRow, nowMs: number): boolean {
  const claimable = state === 'scheduled' || state === 'held' || state === 'waiting';
  return claimable && token === null && expiresAtMs !== null && expiresAtMs <= nowMs;
}

export function expireUnclaimed(ledger: JobLedger, nowMs: number): void {
  const { row, entries } = ledger;
  const { id: jobId, state, attempts, runs } = row;
  const reason = 'no machine claimed it within its time to live';
  updateRow(ledger, { state: 'dead', finishedAtMs: nowMs, reason });
  const change = { jobId, from: state, to: 'dead', operation: 'ttl', actor: 'sweeper' } as const;
  recordChange(entries, { ...change, reason, token: null, atMs: nowMs });
  const data = { attempts, runs, reason, token: null };
  recordFact(entries, { type: 'job.dead', jobId, machineId: null, data, atMs: nowMs });
}
