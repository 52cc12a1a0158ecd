import type { CancelAnswer, EndRequest, ExitAnswer, ExitRequest } from '#protocol/broker.ts';
import type { JobId } from '#protocol/names.ts';
import { compareTokens, type FencingToken, maxToken, zeroToken } from '#protocol/token.ts';
import { addEvent, bury, end, place, unplace, wakeFor } from './entries.ts';
import type { Step } from './state.ts';

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
  const isEnd = request.state !== 'waiting' && request.state !== 'scheduled' && request.state !== 'leased';
  if (entry === undefined) {
    if (isEnd) bury(step, request);
    return { kind: 'unchanged' };
  }
  if (isEnd && compareTokens(entry.fenceFloor, request.fenceFloor) > 0) return { kind: 'unchanged' };
  if (entry.cancelRequested || isEnd) {
    const { cancelRequested } = entry;
    end(step, entry, request.fenceFloor);
    step.data.operations++;
    return { kind: cancelRequested && !isEnd ? 'cancelled' : 'removed' };
  }
  if (entry.lease === null || entry.token !== request.token || request.state === 'leased')
    return { kind: 'unchanged' };
  unplace(step, entry);
  entry.fenceFloor = maxToken(entry.fenceFloor, request.fenceFloor);
  entry.attempts = request.attempts;
  entry.runs = request.runs;
  entry.notBeforeMs = request.notBeforeMs;
  const index = step.isOpen ? step.data.current : (step.data.quarantines.at(-1)?.index ?? step.data.current);
  place(step, entry, index);
  step.data.operations++;
  const isClaimable = step.isOpen && !index.delayed.has(entry.jobId);
  return { kind: 'requeued', wake: isClaimable ? wakeFor(step, entry) : null };
}

/** After `cancelRequestedAt` is committed: ends what waits, flags what runs, buries what is unknown. */
export function cancel(step: Step, request: { jobId: JobId; fenceFloor: FencingToken }): CancelAnswer {
  const entry = step.data.entries.get(request.jobId);
  step.data.operations++;
  if (entry === undefined) {
    bury(step, { ...request, token: zeroToken });
    return { kind: 'unknown' };
  }
  if (compareTokens(entry.fenceFloor, request.fenceFloor) > 0) return { kind: 'unknown' };
  if (entry.lease === null) {
    end(step, entry, request.fenceFloor);
    return { kind: 'removed' };
  }
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
    addEvent(step, { kind: 'progress', jobId, token, machineId, incarnation, run: entry.runs, fraction });
  }
}
