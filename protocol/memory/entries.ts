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

/** True if a claim may take this entry now. */
export function isClaimable(step: Step, entry: Entry): boolean {
  const { current } = step.data;
  return step.isOpen && entry.index === current && !current.delayed.has(entry.jobId);
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

/** Removes an entry without a trace. */
export function forget(step: Step, entry: Entry): void {
  unplace(step, entry);
  step.data.entries.delete(entry.jobId);
  step.data.ids.delete(entry.jobId);
}

/** Removes an ended entry for good and leaves its tombstone. */
export function end(step: Step, entry: Entry, fenceFloor: FencingToken): void {
  forget(step, entry);
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
  forgetTombstones(step, forgetLimit);
}

/** Forgets the oldest tombstones whose time has passed, at most `limit`. */
export function forgetTombstones(step: Step, limit: number): void {
  const { data, nowMs } = step;
  for (const { member, score } of data.tombstoneEnds.slice(null, limit)) {
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

/** Notes a customer's finish tag; forgets some that the pool's clock has passed: they order nothing any more. */
export function setFinishTag(
  step: Step,
  options: { pool: string; customer: string; finishMs: number },
): void {
  const { data } = step;
  const customers = data.finishMs.get(options.pool) ?? new SortedSet();
  data.finishMs.set(options.pool, customers);
  customers.set(options.customer, options.finishMs);
  const virtualMs = data.virtualMs.get(options.pool) ?? 0;
  for (const { member, score } of customers.slice(null, forgetLimit)) {
    if (score > virtualMs) break;
    customers.delete(member);
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
    choice: null,
  };
}

/** True for what was here at a loss; what still waits in quarantine is not marked before it leaves. */
export function isRebuilt(step: Step, entry: Entry): boolean {
  return entry.rebuilt || (entry.index !== null && entry.index !== step.data.current);
}

/** True while closed and for one TTL after the opening: machines may still speak up for running work. */
export function isSettling(step: Step): boolean {
  return (step.data.quarantines.at(-1)?.untilMs ?? 0) > step.nowMs;
}

/** Where an entry waits: what was here at a loss stays out of reach until its machines have had one TTL. */
export function restingIndex(step: Step, isFromLoss: boolean): LaneIndex {
  const quarantine = step.data.quarantines.at(-1);
  const mustWait = !step.isOpen || (isFromLoss && isSettling(step));
  return quarantine !== undefined && mustWait ? quarantine.index : step.data.current;
}

/**
 * True if a beat may make this running work a lease here: newer than all that the entry knows. On an
 * open Broker only what was here at a loss and nobody has claimed or adopted since.
 */
export function isAdoptable(step: Step, entry: Entry, token: FencingToken): boolean {
  const isFree = entry.lease === null ? isRebuilt(step, entry) : entry.lease.awaited;
  if (step.isOpen && !isFree) return false;
  return compareTokens(token, entry.fenceFloor) >= 0 && compareTokens(token, entry.token) > 0;
}
