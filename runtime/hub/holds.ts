import { isWorthHolding, residualMs } from '#machines/policy/hold.ts';
import { machineMeets } from '#machines/policy/matching.ts';
import type { GroupId } from '#protocol/broker.ts';
import type { MachineId } from '#protocol/names.ts';
import type { Hub } from './hub.ts';
import { type MachineLink, runningOn } from './links.ts';

/** Lanes whose hold is remembered; the one that was not asked for longest is forgotten first. */
const heldLimit = 10_000;
/** A hold that no claim has asked for so long, three beats or more, is over: what waits there now waits anew, ms. */
const askedLimitMs = 30_000;
/** Lanes for which all machines are looked through; where more are asked for, an index of their models is cheaper. */
const fewLanes = 16;
/** Age at which it is reckoned anew who has which models and what waits for them, ms. */
const viewMs = 1_000;

interface Lane {
  group: GroupId;
  affinity: string;
}

interface Held {
  sinceMs: number;
  askedMs: number;
  by: MachineId[];
}

/**
 * Which lanes a claim leaves to machines that have their model (machines/policy/hold.ts), as far as this hub
 * knows them: those linked here, by what they said of their disks, and the runs that this hub handed out. The next job
 * of a lane is held for `holdLimitMs` in all; a claim of the lane begins that anew.
 */
export class Holds {
  /** By lane, that which was asked last at the end; times by the monotonic clock. */
  readonly #held = new Map<string, Held>();
  #view: WarmView | null = null;

  /** True where this machine, which lacks the model, should leave the lane to another now. */
  isHeld(hub: Hub, machine: MachineLink, lane: Lane): boolean {
    const key = `${lane.group}/${lane.affinity}`;
    const group = hub.groups.get(lane.group);
    const bytes = hub.models.bytesOf(lane.affinity);
    if (group === null || bytes === null || hub.config.holdLimitMs === 0) return false;
    const nowMs = hub.env.clock.monotonic();
    if (this.#view === null || nowMs - this.#view.atMs >= viewMs) this.#view = new WarmView(hub);
    const view = this.#view;
    const missing = 1 - (machine.residency.get(lane.affinity)?.fraction ?? 0);
    const wayMs = (bytes * missing) / hub.config.fetchBytesPerMs;
    const holders = view.holders(lane);
    const { expectedMs } = hub.lanes.work(lane);
    const startInMs = holders.map((holder) => {
      const aheadMs = Math.max(0, view.warmMs(holder) - expectedMs);
      return freeIn(hub, holder, group.service) + aheadMs;
    });
    if (!isWorthHolding({ wayMs, startInMs })) return false;
    const known = this.#held.get(key);
    const isFresh = known !== undefined && nowMs - known.askedMs < askedLimitMs;
    const sinceMs = isFresh ? known.sinceMs : nowMs;
    this.#note(key, { sinceMs, askedMs: nowMs, by: holders.map(({ machineId }) => machineId) });
    const isHeld = nowMs - sinceMs < hub.config.holdLimitMs;
    if (isHeld) wakeIdle(hub, holders, group.service);
    return isHeld;
  }

  /** A job of the lane has been given out: what is next in it has not been held yet. */
  noteGiven({ group, affinity }: Lane): void {
    this.#held.delete(`${group}/${affinity}`);
  }

  /** What waits in the lane is held no longer; answers whether it was. */
  end(hub: Hub, lane: Lane): boolean {
    if (this.of(hub, lane) === null) return false;
    const held = this.#held.get(`${lane.group}/${lane.affinity}`);
    if (held !== undefined) held.sinceMs = Number.NEGATIVE_INFINITY;
    return true;
  }

  /** For whom work of the lane is held by this hub, and for how much longer at most, ms; null where it is not. */
  of(hub: Hub, { group, affinity }: Lane): { by: readonly MachineId[]; leftMs: number } | null {
    const held = this.#held.get(`${group}/${affinity}`);
    const nowMs = hub.env.clock.monotonic();
    if (held === undefined || nowMs - held.askedMs >= askedLimitMs) return null;
    const leftMs = held.sinceMs + hub.config.holdLimitMs - nowMs;
    return leftMs > 0 ? { by: held.by, leftMs } : null;
  }

  #note(key: string, held: Held): void {
    this.#held.delete(key);
    this.#held.set(key, held);
    const [oldest] = this.#held.keys();
    if (this.#held.size > heldLimit && oldest !== undefined) this.#held.delete(oldest);
  }
}

/** Who has which models, and what waits for them, as it is when it is asked first; each answer is reckoned once. */
class WarmView {
  readonly atMs: number;
  readonly #hub: Hub;
  /** Machines that are there and take work; and by the models that they have, once many lanes were asked for. */
  readonly #taking: readonly MachineLink[];
  #having: ReadonlyMap<string, readonly MachineLink[]> | null = null;
  readonly #holders = new Map<string, MachineLink[]>();
  #warmMs: ReadonlyMap<MachineLink, number> | null = null;

  constructor(hub: Hub) {
    this.#hub = hub;
    this.atMs = hub.env.clock.monotonic();
    const silentMs = hub.config.leaseTtlMs / 2;
    this.#taking = hub.links
      .all()
      .filter((link) => !link.cordoned && !link.draining && !link.leaving && link.silentMs() < silentMs);
  }

  /** Machines of the group's own pool that have the model and take its work: others have a line of their own. */
  holders({ group: groupId, affinity }: Lane): MachineLink[] {
    const key = `${groupId}/${affinity}`;
    const known = this.#holders.get(key);
    if (known !== undefined) return known;
    const group = this.#hub.groups.get(groupId);
    const found =
      group === null
        ? []
        : this.#haveModel(affinity).filter(
            (link) => link.machineClass.pool === group.pool && machineMeets(link, group),
          );
    this.#holders.set(key, found);
    return found;
  }

  #haveModel(modelId: string): readonly MachineLink[] {
    if (this.#holders.size >= fewLanes) this.#having ??= byModel(this.#taking);
    return this.#having === null
      ? this.#taking.filter((link) => link.residency.get(modelId)?.state === 'resident')
      : (this.#having.get(modelId) ?? []);
  }

  /** Its share of all that waits for models that it has, ms of running. */
  warmMs(holder: MachineLink): number {
    this.#warmMs ??= this.#shares();
    return this.#warmMs.get(holder) ?? 0;
  }

  #shares(): Map<MachineLink, number> {
    const sums = new Map<MachineLink, number>();
    for (const lane of this.#hub.lanes.all()) {
      const holders = this.holders(lane);
      const shareMs = (lane.waiting * lane.expectedMs) / holders.length;
      for (const holder of holders) sums.set(holder, (sums.get(holder) ?? 0) + shareMs);
    }
    return sums;
  }
}

function byModel(links: readonly MachineLink[]): Map<string, MachineLink[]> {
  const found = new Map<string, MachineLink[]>();
  for (const link of links) {
    for (const [modelId, { state }] of link.residency) {
      if (state !== 'resident') continue;
      const having = found.get(modelId);
      if (having === undefined) found.set(modelId, [link]);
      else having.push(link);
    }
  }
  return found;
}

/**
 * Until a slot for the service is free, ms; infinity where it offers none, or has runs that this hub did not hand
 * out.
 */
function freeIn(hub: Hub, link: MachineLink, service: string): number {
  const nowMs = hub.env.clock.monotonic();
  const slots = link.machineClass.services.find((each) => each.service === service)?.slots ?? 0;
  const left = runningOn(link).flatMap(({ jobId }) => {
    const run = link.granted.get(jobId)?.run ?? null;
    if (run === null) return [Number.POSITIVE_INFINITY];
    const elapsedMs = nowMs - run.sinceMonotonicMs;
    return run.service === service ? [residualMs({ expectedMs: run.expectedMs, elapsedMs })] : [];
  });
  // A slot that is free by our count and that it does not offer is broken, or taken by something else.
  if (left.length < slots) return link.free.has(service) ? 0 : Number.POSITIVE_INFINITY;
  return Math.min(Number.POSITIVE_INFINITY, ...left);
}

/** One of those that have the model may be idle, because the Broker named this machine first. */
function wakeIdle(hub: Hub, holders: readonly MachineLink[], service: string): void {
  const idle = holders.find((holder) => holder.idle && holder.free.has(service));
  if (idle === undefined || !idle.notify('wake', {})) return;
  idle.idle = false;
  hub.counters.wakesSent++;
}
