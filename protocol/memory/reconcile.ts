import type { ReconcileTicket } from '#protocol/broker.ts';
import type { JobId, MachineRef } from '#protocol/names.ts';
import { addEvent, place, wakeFor } from './entries.ts';
import type { BrokerData, Entry, Step } from './state.ts';

/**
 * Announces a full reconcile; an earlier one can no longer open the Broker. What waited at several losses
 * waits in one order from here on.
 */
export function reconcileStart(step: Step, options: { nonce: string }): ReconcileTicket {
  const ticket = { identity: step.identity, nonce: options.nonce };
  if (!step.isOpen) {
    step.data.ticket = ticket;
    mergeQuarantines(step.data);
  }
  return ticket;
}

function mergeQuarantines(data: BrokerData): void {
  const [first, ...others] = data.quarantines;
  if (first === undefined || others.length === 0) return;
  for (const { index } of others) {
    for (const { member, score } of index.delayed.slice(null, index.delayed.size))
      first.index.delayed.set(member, score);
  }
  const later = new Set(others.map((each) => each.index));
  for (const entry of data.entries.values()) {
    if (entry.index === null || !later.has(entry.index)) continue;
    if (!entry.index.delayed.has(entry.jobId)) first.index.push(entry);
    entry.index = first.index;
  }
  data.quarantines = [first];
}

/**
 * Opens, if nothing was lost since the start: every lease gets one TTL, and everything that was here
 * at the loss, or was re-driven since, becomes claimable one TTL from now.
 */
export function reconcileFinish(step: Step, ticket: ReconcileTicket): { kind: 'open' } | { kind: 'changed' } {
  const { data, identity, nowMs } = step;
  if (ticket.identity !== identity) return { kind: 'changed' };
  if (step.isOpen) return { kind: 'open' };
  if (data.ticket?.nonce !== ticket.nonce) return { kind: 'changed' };
  const endsMs = nowMs + step.settings.leaseTtlMs;
  for (const { member } of data.alive.slice(null, data.alive.size)) data.alive.set(member, endsMs);
  for (const quarantine of data.quarantines) quarantine.untilMs = endsMs;
  data.openedOn = identity;
  data.ticket = null;
  data.adoptions.clear();
  data.operations++;
  return { kind: 'open' };
}

/** Ids in order with what the Broker believes of them. */
export function list(step: Step, options: { after: JobId | null; limit: number }) {
  const after = options.after === null ? null : { member: options.after, score: 0 };
  return step.data.ids.slice(after, options.limit).flatMap(({ member }) => {
    const entry = step.data.entries.get(member);
    return entry
      ? [{ jobId: member, state: stateOf(entry), token: entry.token, fenceFloor: entry.fenceFloor }]
      : [];
  });
}

export function stateOf(entry: Entry): 'waiting' | 'delayed' | 'leased' {
  if (entry.lease !== null) return 'leased';
  return entry.index?.delayed.has(entry.jobId) ? 'delayed' : 'waiting';
}

/** Moves what has become due to its lane: out of quarantine first, then delayed entries. */
export function promote(
  step: Step,
  options: { limit: number },
): { promoted: JobId[]; wakes: MachineRef[]; nextInMs: number | null } {
  const promoted: JobId[] = [];
  const wakes: MachineRef[] = [];
  if (!step.isOpen) return { promoted, wakes, nextInMs: null };
  const moved = drainQuarantines(step, options.limit);
  for (const { member, score } of step.data.current.delayed.slice(null, options.limit - moved.length)) {
    if (score > step.nowMs) break;
    const entry = step.data.entries.get(member);
    if (entry === undefined) continue;
    step.data.current.delayed.delete(member);
    moved.push(entry);
    promoted.push(member);
    place(step, entry, step.data.current);
    addEvent(step, {
      kind: 'promoted',
      jobId: member,
      token: entry.token,
      machineId: null,
      incarnation: null,
      run: entry.runs,
      fraction: null,
      choice: null,
    });
  }
  step.data.operations += moved.length;
  for (const entry of moved) {
    if (step.data.current.delayed.has(entry.jobId)) continue;
    const wake = wakeFor(step, entry);
    if (wake !== null) wakes.push(wake);
  }
  return { promoted, wakes, nextInMs: nextDueInMs(step) };
}

/** Takes at most `limit` entries over from quarantines whose time has passed. */
function drainQuarantines(step: Step, limit: number): Entry[] {
  const { data, nowMs } = step;
  const moved: Entry[] = [];
  for (const { index, untilMs } of data.quarantines) {
    while (untilMs <= nowMs && moved.length < limit) {
      const jobId = index.firstOfAll() ?? index.delayed.first()?.member;
      const entry = jobId === undefined ? undefined : data.entries.get(jobId);
      if (entry === undefined) break;
      if (!index.delayed.delete(entry.jobId)) index.remove(entry);
      entry.rebuilt = true;
      place(step, entry, data.current);
      moved.push(entry);
    }
  }
  data.quarantines = data.quarantines.filter((each) => !each.index.isEmpty || each.untilMs > nowMs);
  return moved;
}

function nextDueInMs(step: Step): number | null {
  const times = step.data.quarantines.filter((each) => !each.index.isEmpty).map((each) => each.untilMs);
  const delayed = step.data.current.delayed.first();
  if (delayed !== null) times.push(delayed.score);
  return times.length === 0 ? null : Math.max(0, Math.min(...times) - step.nowMs);
}
