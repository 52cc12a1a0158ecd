import type { BrokerEntry, ReconcileTicket, SubmitAnswer, SubmitBatchAnswer } from '#protocol/broker.ts';
import { machineKey } from '#protocol/names.ts';
import { fairTags, priorityBoostMs } from '#protocol/score.ts';
import { compareTokens, type FencingToken, zeroToken } from '#protocol/token.ts';
import {
  addEvent,
  buriedFloor,
  grant,
  isClaimable,
  isRebuilt,
  keepAlive,
  leaseEvent,
  place,
  restingIndex,
  setFinishTag,
  unplace,
  wakeFor,
} from './entries.ts';
import type { Entry, Step } from './state.ts';

/** Adds entries in order. A closed Broker takes them only with the ticket of the reconcile under way. */
export function submit(
  step: Step,
  options: { identity: string; entries: BrokerEntry[]; ticket?: ReconcileTicket },
): SubmitBatchAnswer {
  if (options.identity !== step.identity) return { kind: 'identityChanged', identity: step.identity };
  if (!step.isOpen && !holdsTicket(step, options.ticket)) return { kind: 'closed' };
  return { kind: 'ok', answers: options.entries.map((entry) => submitOne(step, entry)) };
}

function holdsTicket(step: Step, ticket: ReconcileTicket | undefined): boolean {
  const { ticket: current } = step.data;
  return current !== null && ticket?.nonce === current.nonce && ticket.identity === step.identity;
}

function submitOne(step: Step, wanted: BrokerEntry): SubmitAnswer {
  const { data } = step;
  const older = data.entries.get(wanted.jobId);
  if (older !== undefined && keepsItsPlace(step, older, wanted)) return { kind: 'exists' };
  const floor = buriedFloor(step, wanted.jobId);
  if (floor !== null && compareTokens(wanted.fenceFloor, floor) <= 0)
    return { kind: 'tombstoned', fenceFloor: floor };
  const isFromLoss = older !== undefined && isRebuilt(step, older);
  if (older !== undefined) unplace(step, older);
  const { lease: _known, body, ...fields } = wanted;
  const entry: Entry = {
    ...fields,
    body: body === null ? null : JSON.stringify(body),
    ...tagsOf(step, wanted),
    // Kept from a former life: tokens rise per job, also where the clock stands still.
    token: older?.token ?? zeroToken,
    index: null,
    lease: null,
    cancelRequested: false,
    rebuilt: !step.isOpen || isFromLoss || wanted.lease !== null,
  };
  data.entries.set(entry.jobId, entry);
  data.ids.set(entry.jobId, 0);
  data.operations++;
  if (leaseAgain(step, entry, wanted)) return { kind: 'added', wake: null };
  place(step, entry, restingIndex(step, isFromLoss));
  return { kind: 'added', wake: isClaimable(step, entry) ? wakeFor(step, entry) : null };
}

/**
 * True if the entry that is here stays. One of a lower floor is of a former life: the row has gone on
 * without its Broker step (a requeue, an exit whose hub stalls), and what still speaks for that life
 * acts under a lower floor. A lease that the new floor does not shut out goes on under it.
 */
function keepsItsPlace(step: Step, older: Entry, wanted: BrokerEntry): boolean {
  if (compareTokens(wanted.fenceFloor, older.fenceFloor) <= 0) return true;
  if (older.lease === null || compareTokens(older.token, wanted.fenceFloor) < 0) return false;
  older.fenceFloor = wanted.fenceFloor;
  older.cancelRequested = false;
  step.data.operations++;
  return true;
}

/** Start tag and score of a job that enters its pool now; charges its customer. */
function tagsOf(step: Step, wanted: BrokerEntry): { startMs: number; score: number } {
  const { data, settings } = step;
  const { pool, customer, costMs } = wanted;
  const tags = fairTags({
    virtualMs: data.virtualMs.get(pool) ?? 0,
    finishMs: data.finishMs.get(pool)?.score(customer) ?? 0,
    costMs,
  });
  setFinishTag(step, { pool, customer, finishMs: tags.finishMs });
  return { startMs: tags.startMs, score: tags.startMs - priorityBoostMs(wanted.priority, settings) };
}

/** Re-drive of running work: the lease that Records know, or the newer one that a beat named meanwhile. */
function leaseAgain(step: Step, entry: Entry, wanted: BrokerEntry): boolean {
  const known = wanted.lease !== null && stands(entry, wanted.lease.token) ? wanted.lease : null;
  const adoption = step.data.adoptions.get(entry.jobId);
  step.data.adoptions.delete(entry.jobId);
  const isNewer =
    adoption !== undefined &&
    stands(entry, adoption.token) &&
    (known === null || compareTokens(adoption.token, known.token) >= 0);
  const holder = isNewer ? adoption.ref : known;
  const token = isNewer ? adoption.token : known?.token;
  if (holder === null || token === undefined) return false;
  if (isNewer && (known === null || adoption.token !== known.token)) entry.runs++;
  const ref = { machineId: holder.machineId, incarnation: holder.incarnation };
  const lease = { ...ref, requestId: 0, missedBeats: 0, fraction: 0, awaited: !isNewer };
  grant(step, entry, lease, token);
  if (step.data.alive.score(machineKey(ref)) === null)
    keepAlive(step, ref, step.nowMs + step.settings.leaseTtlMs);
  entry.rebuilt = !isNewer;
  if (isNewer) addEvent(step, leaseEvent(entry, 'adopted'));
  return true;
}

/** True if a lease with this token is newer than all that the entry knows. */
function stands(entry: Entry, token: FencingToken): boolean {
  return compareTokens(token, entry.fenceFloor) >= 0 && compareTokens(token, entry.token) > 0;
}
