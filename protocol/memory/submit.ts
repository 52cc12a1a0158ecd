import type { BrokerEntry, ReconcileTicket, SubmitAnswer, SubmitBatchAnswer } from '#protocol/broker.ts';
import { machineKey } from '#protocol/names.ts';
import { fairTags, priorityBoostMs } from '#protocol/score.ts';
import { compareTokens, zeroToken } from '#protocol/token.ts';
import {
  addEvent,
  buriedFloor,
  forgetFinishTags,
  grant,
  keepAlive,
  leaseEvent,
  place,
  unplace,
  wakeFor,
} from './entries.ts';
import type { LaneIndex } from './lane-index.ts';
import type { Entry, Step } from './state.ts';

/** Adds entries in order. A closed Broker takes them only with the ticket of the reconcile under way. */
export function submit(
  step: Step,
  options: { identity: string; entries: BrokerEntry[]; ticket?: ReconcileTicket },
): SubmitBatchAnswer {
  if (options.identity !== step.identity) return { kind: 'identityChanged', identity: step.identity };
  if (!step.isOpen && !holdsTicket(step, options.ticket)) return { kind: 'closed' };
  const index = step.isOpen ? step.data.current : (step.data.quarantines.at(-1)?.index ?? step.data.current);
  return { kind: 'ok', answers: options.entries.map((entry) => submitOne(step, entry, index)) };
}

function holdsTicket(step: Step, ticket: ReconcileTicket | undefined): boolean {
  const { ticket: current } = step.data;
  return current !== null && ticket?.nonce === current.nonce && ticket.identity === step.identity;
}

function submitOne(step: Step, wanted: BrokerEntry, index: LaneIndex): SubmitAnswer {
  const { data } = step;
  const older = data.entries.get(wanted.jobId);
  if (older !== undefined) {
    if (compareTokens(wanted.fenceFloor, older.fenceFloor) <= 0) return { kind: 'exists' };
    // The row has gone on without its Broker step (a requeue, an exit whose hub stalls): the entry is
    // of a former life, and whatever still speaks for that life acts under a lower floor.
    unplace(step, older);
  }
  const floor = buriedFloor(step, wanted.jobId);
  if (floor !== null && compareTokens(wanted.fenceFloor, floor) <= 0)
    return { kind: 'tombstoned', fenceFloor: floor };
  const { lease: _known, body, ...fields } = wanted;
  const entry: Entry = {
    ...fields,
    body: structuredClone(body),
    ...tagsOf(step, wanted),
    token: zeroToken,
    index: null,
    lease: null,
    cancelRequested: false,
    rebuilt: !step.isOpen || wanted.lease !== null,
  };
  data.entries.set(entry.jobId, entry);
  data.ids.set(entry.jobId, 0);
  data.operations++;
  if (leaseAgain(step, entry, wanted)) return { kind: 'added', wake: null };
  place(step, entry, index);
  const isClaimable = step.isOpen && !index.delayed.has(entry.jobId);
  return { kind: 'added', wake: isClaimable ? wakeFor(step, entry) : null };
}

/** Start tag and score of a job that enters its pool now; charges its customer. */
function tagsOf(step: Step, wanted: BrokerEntry): { startMs: number; score: number } {
  const { data, settings } = step;
  const key = `${wanted.pool}/${wanted.customer}`;
  const tags = fairTags({
    virtualMs: data.virtualMs.get(wanted.pool) ?? 0,
    finishMs: data.finishMs.get(key) ?? 0,
    costMs: wanted.costMs,
  });
  forgetFinishTags(step, wanted.pool);
  data.finishMs.set(key, tags.finishMs);
  return { startMs: tags.startMs, score: tags.startMs - priorityBoostMs(wanted.priority, settings) };
}

/** Re-drive of running work: the lease that Records know, or the newer one that a beat named meanwhile. */
function leaseAgain(step: Step, entry: Entry, wanted: BrokerEntry): boolean {
  const known = wanted.lease;
  const adoption = step.data.adoptions.get(entry.jobId);
  step.data.adoptions.delete(entry.jobId);
  const isNewer =
    adoption !== undefined &&
    compareTokens(adoption.token, entry.fenceFloor) >= 0 &&
    (known === null || compareTokens(adoption.token, known.token) >= 0);
  const holder = isNewer ? adoption.ref : known;
  const token = isNewer ? adoption.token : known?.token;
  if (holder === null || token === undefined) return false;
  if (isNewer && (known === null || adoption.token !== known.token)) entry.runs++;
  const ref = { machineId: holder.machineId, incarnation: holder.incarnation };
  grant(step, entry, { ...ref, requestId: 0, missedBeats: 0, fraction: 0 }, token);
  if (step.data.alive.score(machineKey(ref)) === null)
    keepAlive(step, ref, step.nowMs + step.settings.leaseTtlMs);
  entry.rebuilt = !isNewer;
  if (isNewer) addEvent(step, leaseEvent(entry, 'adopted'));
  return true;
}
