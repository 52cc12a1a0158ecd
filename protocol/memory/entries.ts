import type { BrokerEvent } from '#protocol/broker.ts';
import { tombstoneMs } from '#protocol/broker.ts';
import { type MachineRef, machineKey } from '#protocol/names.ts';
import { compareTokens, type FencingToken, maxToken } from '#protocol/token.ts';
import type { LaneIndex } from './lane-index.ts';
import { SortedSet } from './sorted-set.ts';
import type { Entry, EntryLease, Step } from './state.ts';

/** Tombstones and finish tags forgotten per step: bounded, so that no step pays for the past. */
const forgetLimit = 8;

/** Puts an entry that is nowhere into its lane, or among the delayed until its time. */
export function place(step: Step, entry: Entry, index: LaneIndex): void {
  entry.index = index;
  if (entry.notBeforeMs !== null && entry.notBeforeMs > step.nowMs)
    index.delayed.set(entry.jobId, entry.notBeforeMs);
  else index.push(entry);
}

/** Takes an entry out of its lane, its delayed set or its holder's leases; it is nowhere then. */
export function unplace(step: Step, entry: Entry): void {
  if (entry.index !== null) {
    if (!entry.index.delayed.delete(entry.jobId)) entry.index.remove(entry);
    entry.index = null;
  }
  if (entry.lease !== null) {
    const key = machineKey(entry.lease);
    const jobs = step.data.held.get(key);
    jobs?.delete(entry.jobId);
    if (jobs?.size === 0) step.data.held.delete(key);
    entry.lease = null;
  }
}

/** Gives an entry that is nowhere to an incarnation. Says nothing about how long: only beats do. */
export function grant(step: Step, entry: Entry, lease: EntryLease, token: FencingToken): void {
  const key = machineKey(lease);
  entry.token = token;
  entry.lease = lease;
  const jobs = step.data.held.get(key) ?? new SortedSet();
  step.data.held.set(key, jobs);
  jobs.set(entry.jobId, 0);
}

/** Removes an ended entry for good and leaves its tombstone. */
export function end(step: Step, entry: Entry, fenceFloor: FencingToken): void {
  unplace(step, entry);
  step.data.entries.delete(entry.jobId);
  step.data.ids.delete(entry.jobId);
  bury(step, { jobId: entry.jobId, token: entry.token, fenceFloor: maxToken(entry.fenceFloor, fenceFloor) });
}

/** Refuses submits of this id up to the higher of token and floor, for `tombstoneMs`. */
export function bury(
  step: Step,
  options: { jobId: string; token: FencingToken; fenceFloor: FencingToken },
): void {
  const { data, nowMs } = step;
  const known = data.tombstones.get(options.jobId);
  data.tombstones.set(options.jobId, {
    token: known ? maxToken(known.token, options.token) : options.token,
    fenceFloor: known ? maxToken(known.fenceFloor, options.fenceFloor) : options.fenceFloor,
  });
  data.tombstoneEnds.set(options.jobId, nowMs + tombstoneMs);
  for (const { member, score } of data.tombstoneEnds.slice(null, forgetLimit)) {
    if (score > nowMs) break;
    data.tombstoneEnds.delete(member);
    data.tombstones.delete(member);
  }
}

/** Floor at or below which a submit of this id adds nothing; null if it has no tombstone. */
export function buriedFloor(step: Step, jobId: string): FencingToken | null {
  const tombstone = step.data.tombstones.get(jobId);
  if (tombstone === undefined || (step.data.tombstoneEnds.score(jobId) ?? 0) <= step.nowMs) return null;
  return maxToken(tombstone.token, tombstone.fenceFloor);
}

/** Drops finish tags that the pool's clock has passed: they no longer order anything. */
export function forgetFinishTags(step: Step, pool: string): void {
  const { data } = step;
  const virtualMs = data.virtualMs.get(pool) ?? 0;
  let looked = 0;
  for (const [key, finishMs] of data.finishMs) {
    if (++looked > forgetLimit) return;
    if (key.startsWith(`${pool}/`) && finishMs <= virtualMs) data.finishMs.delete(key);
  }
}

/** One idle fit machine for the head of a lane, skipping those that a newer incarnation replaced or whose lease ended. */
export function wakeFor(step: Step, lane: { group: string; affinity: string }): MachineRef | null {
  for (;;) {
    const ref = step.data.idle.take(lane);
    if (ref === null || canServe(step, ref)) return ref;
  }
}

/** True while this incarnation is the newest of its machine and its lease stands. */
export function canServe(step: Step, ref: MachineRef): boolean {
  const endsMs = step.data.alive.score(machineKey(ref));
  return step.data.newest.get(ref.machineId) === ref.incarnation && endsMs !== null && endsMs > step.nowMs;
}

export function isSuperseded(step: Step, ref: MachineRef): boolean {
  return (step.data.newest.get(ref.machineId) ?? 0) > ref.incarnation;
}

/** True if this incarnation's lease has ended and it still holds jobs: the sweeper must empty it first. */
export function isLapsed(step: Step, ref: MachineRef): boolean {
  const key = machineKey(ref);
  const endsMs = step.data.alive.score(key);
  return step.isOpen && step.data.held.has(key) && (endsMs === null || endsMs <= step.nowMs);
}

/** Gives the incarnation's leases until `endsMs` and notes it as its machine's newest. */
export function keepAlive(step: Step, ref: MachineRef, endsMs: number): void {
  const key = machineKey(ref);
  step.data.refs.set(key, { machineId: ref.machineId, incarnation: ref.incarnation });
  step.data.alive.set(key, endsMs);
  if ((step.data.newest.get(ref.machineId) ?? 0) < ref.incarnation)
    step.data.newest.set(ref.machineId, ref.incarnation);
}

/** Forgets an incarnation that holds nothing. */
export function forgetIncarnation(step: Step, ref: MachineRef): void {
  const key = machineKey(ref);
  step.data.alive.delete(key);
  step.data.refs.delete(key);
  step.data.idle.leave(ref);
}

export function addEvent(step: Step, event: Omit<BrokerEvent, 'id' | 'atMs'>): void {
  const { data, nowMs } = step;
  const id = ++data.lastEventId;
  if (event.kind === 'progress') {
    const older = data.progressEvent.get(event.jobId);
    if (older !== undefined) data.events.delete(older);
    data.progressEvent.set(event.jobId, id);
  }
  data.events.set(id, { ...event, id, atMs: nowMs });
}

/** What a lease event says of the entry's holder. */
export function leaseEvent(entry: Entry, kind: 'leased' | 'adopted'): Omit<BrokerEvent, 'id' | 'atMs'> {
  return {
    kind,
    jobId: entry.jobId,
    token: entry.token,
    machineId: entry.lease?.machineId ?? null,
    incarnation: entry.lease?.incarnation ?? null,
    run: entry.runs,
    fraction: null,
  };
}

/** True if a beat may make this running work a lease here: newer than all that the entry knows. */
export function isAdoptable(step: Step, entry: Entry, token: FencingToken): boolean {
  // What still waits in quarantine was here at the loss, though it is not marked before it leaves.
  const wasHereAtLoss = entry.rebuilt || (entry.index !== null && entry.index !== step.data.current);
  if (step.isOpen && !wasHereAtLoss) return false;
  return compareTokens(token, entry.fenceFloor) >= 0 && compareTokens(token, entry.token) > 0;
}
