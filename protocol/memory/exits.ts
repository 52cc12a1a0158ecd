import type { CancelAnswer, EndRequest, ExitAnswer, ExitRequest } from '#protocol/broker.ts';
import { TERMINAL_STATES } from '#protocol/job.ts';
import type { JobId } from '#protocol/names.ts';
import { compareTokens, type FencingToken, maxToken, zeroToken } from '#protocol/token.ts';
import {
  addEvent,
  bury,
  end,
  forget,
  isClaimable,
  isRebuilt,
  place,
  restingIndex,
  unplace,
  wakeFor,
} from './entries.ts';
import type { Step } from './state.ts';

const terminalStates: ReadonlySet<ExitRequest['state']> = new Set(TERMINAL_STATES);

/**
 * After the commit of a completion: the id goes, whatever its state or token. Also on a closed
 * Broker: the tombstone then keeps a re-drive that was read before the commit from adding the job.
 */
export function complete(step: Step, request: EndRequest): { kind: 'removed' | 'unchanged' } {
  const entry = step.data.entries.get(request.jobId);
  if (entry !== undefined && compareTokens(entry.fenceFloor, request.fenceFloor) > 0)
    return { kind: 'unchanged' };
  step.data.operations++;
  if (entry === undefined) {
    bury(step, request);
    return { kind: 'unchanged' };
  }
  entry.token = maxToken(entry.token, request.token);
  end(step, entry, request.fenceFloor);
  return { kind: 'removed' };
}

/**
 * After the commit of any other exit. Back to waiting only if leased with exactly this token; an end
 * is ignored where the entry's floor is higher, because an operator has requeued the job since.
 */
export function exit(step: Step, request: ExitRequest): ExitAnswer {
  const entry = step.data.entries.get(request.jobId);
  const isTerminal = terminalStates.has(request.state);
  // Held back by its customer's window: not here, but an admit brings it back under the same floor.
  const isEnd = isTerminal || request.state === 'held';
  if (entry === undefined) {
    if (isTerminal) {
      bury(step, request);
      step.data.operations++;
    }
    return { kind: 'unchanged' };
  }
  if (isEnd && compareTokens(entry.fenceFloor, request.fenceFloor) > 0) return { kind: 'unchanged' };
  // A flag of a former life says nothing about this one: an operator has requeued the job since.
  const isFlagged =
    entry.cancelRequested &&
    (request.cancelRequested || compareTokens(entry.fenceFloor, request.fenceFloor) >= 0);
  if (isFlagged || isEnd) {
    if (isTerminal || isFlagged) end(step, entry, request.fenceFloor);
    else forget(step, entry);
    step.data.operations++;
    return { kind: isFlagged && !isTerminal ? 'cancelled' : 'removed' };
  }
  if (entry.lease === null || entry.token !== request.token) return { kind: 'unchanged' };
  // Asked before the entry moves: a rebuilt lease that nobody adopted waits like all that was here.
  const isFromLoss = isRebuilt(step, entry);
  unplace(step, entry);
  entry.fenceFloor = maxToken(entry.fenceFloor, request.fenceFloor);
  entry.attempts = request.attempts;
  entry.runs = request.runs;
  entry.notBeforeMs = request.notBeforeMs;
  entry.cancelRequested = false;
  place(step, entry, restingIndex(step, isFromLoss));
  step.data.operations++;
  return { kind: 'requeued', wake: isClaimable(step, entry) ? wakeFor(step, entry) : null };
}

/** After `cancelRequestedAt` is committed: ends what waits, flags what runs, buries what is unknown. */
export function cancel(step: Step, request: { jobId: JobId; fenceFloor: FencingToken }): CancelAnswer {
  const entry = step.data.entries.get(request.jobId);
  if (entry !== undefined && compareTokens(entry.fenceFloor, request.fenceFloor) > 0)
    return { kind: 'unknown' };
  step.data.operations++;
  if (entry === undefined) {
    bury(step, { ...request, token: zeroToken });
    return { kind: 'unknown' };
  }
  if (entry.lease === null) {
    end(step, entry, request.fenceFloor);
    return { kind: 'removed' };
  }
  // The flag is of the life that this floor begins; an exit tells by it whether it still counts.
  entry.fenceFloor = maxToken(entry.fenceFloor, request.fenceFloor);
  entry.cancelRequested = true;
  const { machineId, incarnation } = entry.lease;
  return { kind: 'requested', holder: { machineId, incarnation }, token: entry.token };
}

/** Notes the share of work done where the token still holds the job. */
export function progress(step: Step, items: { jobId: JobId; token: FencingToken; fraction: number }[]): void {
  for (const { jobId, token, fraction } of items) {
    const entry = step.data.entries.get(jobId);
    if (!entry?.lease || entry.token !== token || fraction <= entry.lease.fraction) continue;
    entry.lease.fraction = fraction;
    const { machineId, incarnation } = entry.lease;
    addEvent(step, {
      kind: 'progress',
      jobId,
      token,
      machineId,
      incarnation,
      run: entry.runs,
      fraction,
      choice: null,
    });
  }
}
