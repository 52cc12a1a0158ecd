import type { GroupId, LapsedAnswer, LapsedLease, Wake } from '#protocol/broker.ts';
import { type JobId, type MachineRef, machineKey } from '#protocol/names.ts';
import type { FencingToken } from '#protocol/token.ts';
import { forgetIncarnation, forgetTombstones, isSuperseded, keepAlive, wakeFor } from './entries.ts';
import type { Step } from './state.ts';

/** Incarnations looked at in one sweep. */
const sweepLimit = 1_000;

/** Registers an incarnation with one TTL; a newer one makes the leases of the older lapse at once. */
export function enrol(step: Step, ref: MachineRef): { kind: 'ok' } | { kind: 'superseded' } {
  const { data } = step;
  if (isSuperseded(step, ref)) return { kind: 'superseded' };
  const older = data.newest.get(ref.machineId);
  if (older !== undefined && older < ref.incarnation) {
    const olderRef = { machineId: ref.machineId, incarnation: older };
    data.idle.leave(olderRef);
    if (data.held.has(machineKey(olderRef))) data.alive.set(machineKey(olderRef), 0);
    else forgetIncarnation(step, olderRef);
  }
  const endsMs = data.alive.score(machineKey(ref));
  // An incarnation that lapsed and still holds jobs stays lapsed until the sweeper has emptied it.
  if (endsMs === null || !data.held.has(machineKey(ref)))
    keepAlive(step, ref, step.nowMs + step.settings.leaseTtlMs);
  data.operations++;
  return { kind: 'ok' };
}

/** Leaves the incarnation at most `restMs`; never lengthens, and nothing is shortened while closed. */
export function shorten(
  step: Step,
  options: MachineRef & { restMs: number },
): { earliestExpiryMs: number | null } {
  const { alive, idle } = step.data;
  const endsMs = alive.score(machineKey(options));
  idle.leave(options);
  if (step.isOpen && endsMs !== null)
    alive.set(machineKey(options), Math.min(endsMs, step.nowMs + options.restMs));
  return { earliestExpiryMs: alive.first()?.score ?? null };
}

/**
 * LEAVE: what it still holds, to be released through Records. The leases keep their time, in case the
 * hub that releases them dies half-way.
 */
export function leave(step: Step, ref: MachineRef): { leases: { jobId: JobId; token: FencingToken }[] } {
  step.data.idle.leave(ref);
  const leases = leasesOf(step, machineKey(ref), step.data.entries.size).map(({ jobId, token }) => ({
    jobId,
    token,
  }));
  if (leases.length === 0) forgetIncarnation(step, ref);
  return { leases };
}

/** A woken machine that does not take the work names another. */
export function passWake(step: Step, options: MachineRef & { groups: GroupId[] }): { wake: Wake } {
  step.data.idle.leave(options);
  for (const group of options.groups) {
    const head = step.data.current.groupHead(group);
    const wake = head && wakeFor(step, { group, affinity: head.affinity });
    if (wake) return { wake };
  }
  return { wake: null };
}

/** Tombstones that one sweep forgets: where no job ends any more nobody else would. */
const sweptTombstones = 1_000;

/** Leases whose time has passed, oldest first; forgets ended incarnations that hold nothing, and old tombstones. */
export function lapsed(step: Step, options: { limit: number }): LapsedAnswer {
  const { data, nowMs } = step;
  if (!step.isOpen) return { kind: 'closed' };
  forgetTombstones(step, sweptTombstones);
  const leases: LapsedLease[] = [];
  for (const { member: key, score } of data.alive.slice(null, sweepLimit)) {
    if (score > nowMs || leases.length >= options.limit) break;
    const ref = data.refs.get(key);
    if (ref === undefined) continue;
    data.idle.leave(ref);
    if (data.held.has(key)) leases.push(...leasesOf(step, key, options.limit - leases.length));
    else forgetIncarnation(step, ref);
  }
  return { kind: 'ok', leases, earliestExpiryMs: data.alive.first()?.score ?? null };
}

function leasesOf(step: Step, key: string, limit: number): LapsedLease[] {
  const ref = step.data.refs.get(key);
  const jobs = step.data.held.get(key);
  if (ref === undefined || jobs === undefined) return [];
  return jobs.slice(null, limit).flatMap(({ member }) => {
    const entry = step.data.entries.get(member);
    return entry?.lease ? [{ ...ref, jobId: member, token: entry.token, rebuilt: entry.lease.awaited }] : [];
  });
}
