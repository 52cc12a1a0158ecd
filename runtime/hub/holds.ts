import { isWorthHolding, residualMs } from '#machines/policy/hold.ts';
import { machineMeets } from '#machines/policy/matching.ts';
import type { GroupId } from '#protocol/broker.ts';
import type { MachineId } from '#protocol/names.ts';
import type { Group } from '#protocol/requirements.ts';
import type { Hub } from './hub.ts';
import { type MachineLink, runningOn } from './links.ts';

/** Lanes whose hold is remembered; beyond that all begin anew, which bounds a hold by a little more. */
const heldLimit = 10_000;

interface Lane {
  group: GroupId;
  affinity: string;
}

/**
 * Which lanes a claim leaves to machines that have their model (machines/policy/hold.ts), as far as this hub
 * knows them: those linked here, by what they said of their disks, and the runs that this hub handed out. A lane is
 * held for `holdLimitMs` in all; a claim of it begins its time anew.
 */
export class Holds {
  /** By lane: since when it is held, by the monotonic clock, and for whom. */
  readonly #held = new Map<string, { sinceMs: number; by: MachineId[] }>();

  /** True where this machine, which lacks the model, should leave the lane to another now. */
  isHeld(hub: Hub, machine: MachineLink, lane: Lane): boolean {
    const key = `${lane.group}/${lane.affinity}`;
    const group = hub.groups.get(lane.group);
    const bytes = hub.models.bytesOf(lane.affinity);
    if (group === null || bytes === null || hub.config.holdLimitMs === 0) return false;
    const wayMs = bytes / hub.config.fetchBytesPerMs;
    const holders = holdersOf(hub, machine, { affinity: lane.affinity, group });
    const freeInMs = holders.map((holder) => freeIn(hub, holder, group.service));
    const { waiting, expectedMs } = hub.lanes.work(lane);
    if (!isWorthHolding({ wayMs, freeInMs, waiting, expectedMs })) {
      this.#held.delete(key);
      return false;
    }
    const nowMs = hub.env.clock.monotonic();
    const sinceMs = this.#held.get(key)?.sinceMs ?? nowMs;
    if (this.#held.size >= heldLimit) this.#held.clear();
    this.#held.set(key, { sinceMs, by: holders.map(({ machineId }) => machineId) });
    const isHeld = nowMs - sinceMs < hub.config.holdLimitMs;
    if (isHeld) wakeIdle(hub, holders, group.service);
    return isHeld;
  }

  /** A job of the lane has been given out: what is next in it has not been held yet. */
  noteGiven({ group, affinity }: Lane): void {
    this.#held.delete(`${group}/${affinity}`);
  }

  /** For whom work of the lane is held by this hub, and for how much longer at most, ms; null where it is not. */
  of(hub: Hub, { group, affinity }: Lane): { by: readonly MachineId[]; leftMs: number } | null {
    const held = this.#held.get(`${group}/${affinity}`);
    if (held === undefined) return null;
    const leftMs = held.sinceMs + hub.config.holdLimitMs - hub.env.clock.monotonic();
    return leftMs > 0 ? { by: held.by, leftMs } : null;
  }
}

function holdersOf(
  hub: Hub,
  machine: MachineLink,
  { affinity, group }: { affinity: string; group: Group },
): MachineLink[] {
  const silentMs = hub.config.leaseTtlMs / 2;
  return hub.links
    .all()
    .filter(
      (link) =>
        link !== machine &&
        link.residency.get(affinity)?.state === 'resident' &&
        !link.cordoned &&
        !link.draining &&
        link.silentMs() < silentMs &&
        machineMeets(link, group),
    );
}

/** Until a slot for the service is free, ms; infinity where it has none, or runs that this hub did not hand out. */
function freeIn(hub: Hub, link: MachineLink, service: string): number {
  const nowMs = hub.env.clock.monotonic();
  const slots = link.machineClass.services.find((each) => each.service === service)?.slots ?? 0;
  const left = runningOn(link).flatMap(({ jobId }) => {
    const run = link.granted.get(jobId)?.run ?? null;
    if (run === null) return [Number.POSITIVE_INFINITY];
    const elapsedMs = nowMs - run.sinceMonotonicMs;
    return run.service === service ? [residualMs({ expectedMs: run.expectedMs, elapsedMs })] : [];
  });
  return left.length < slots ? 0 : Math.min(Number.POSITIVE_INFINITY, ...left);
}

/** One of those that have the model may be idle, because the Broker named this machine first. */
function wakeIdle(hub: Hub, holders: readonly MachineLink[], service: string): void {
  const idle = holders.find((holder) => holder.idle && holder.free.has(service));
  if (idle === undefined || !idle.notify('wake', {})) return;
  idle.idle = false;
  hub.counters.wakesSent++;
}
