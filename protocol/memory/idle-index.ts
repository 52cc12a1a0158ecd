import type { ClaimRequest, GroupId } from '#protocol/broker.ts';
import { type MachineRef, machineKey } from '#protocol/names.ts';
import { SortedSet } from './sorted-set.ts';

interface IdleMachine {
  ref: MachineRef;
  /** Groups and lanes as entered, to leave the same sets again; joined text tells a repeat apart. */
  groups: GroupId[];
  lanes: Lane[];
  entered: string;
  sinceMs: number;
}

interface Lane {
  group: GroupId;
  affinity: string;
}

/**
 * Machines that found nothing to do, by what they could do: longest idle first, machines that hold
 * the lane's model before others. A machine that is woken leaves the index until it asks again.
 */
export class IdleIndex {
  readonly #machines = new Map<string, IdleMachine>();
  readonly #byGroup = new Map<GroupId, SortedSet>();
  readonly #byLane = new Map<string, SortedSet>();

  get size(): number {
    return this.#machines.size;
  }

  copy(): IdleIndex {
    const copied = new IdleIndex();
    for (const [key, machine] of this.#machines) copied.#machines.set(key, machine);
    for (const [group, set] of this.#byGroup) copied.#byGroup.set(group, set.copy());
    for (const [lane, set] of this.#byLane) copied.#byLane.set(lane, set.copy());
    return copied;
  }

  enter(
    ref: MachineRef,
    wants: Pick<ClaimRequest, 'groups'> & Partial<Pick<ClaimRequest, 'warmLanes'>>,
    sinceMs: number,
  ): void {
    const key = machineKey(ref);
    const { machineId, incarnation } = ref;
    const groups = wants.groups.map((each) => each.group);
    const known = this.#machines.get(key);
    // A beat says which groups, not which lanes: it keeps the lanes of the last claim.
    const lanes = wants.warmLanes?.map(({ group, affinity }) => ({ group, affinity })) ?? known?.lanes ?? [];
    const entered = `${groups.join(' ')}|${lanes.map(laneKey).join(' ')}`;
    if (known?.entered === entered) return;
    this.leave(ref);
    if (groups.length === 0) return;
    // It has been idle for as long as before, whatever it can do by now.
    const idleSinceMs = known?.sinceMs ?? sinceMs;
    this.#machines.set(key, {
      ref: { machineId, incarnation },
      groups,
      lanes,
      entered,
      sinceMs: idleSinceMs,
    });
    for (const group of groups) enterSet(this.#byGroup, group, key, idleSinceMs);
    for (const lane of offered(lanes, groups)) enterSet(this.#byLane, lane, key, idleSinceMs);
  }

  leave(ref: MachineRef): void {
    const key = machineKey(ref);
    const known = this.#machines.get(key);
    if (known === undefined) return;
    this.#machines.delete(key);
    for (const group of known.groups) leaveSet(this.#byGroup, group, key);
    for (const lane of offered(known.lanes, known.groups)) leaveSet(this.#byLane, lane, key);
  }

  /** Takes one machine for work in this lane, warm first; null if none that fits is idle. */
  take(lane: Lane): MachineRef | null {
    const warm = this.#byLane.get(laneKey(lane))?.first();
    const found = warm ?? this.#byGroup.get(lane.group)?.first();
    const ref = found ? this.#machines.get(found.member)?.ref : undefined;
    if (ref === undefined) return null;
    this.leave(ref);
    return ref;
  }
}

function laneKey(lane: Lane): string {
  return `${lane.group}/${lane.affinity}`;
}

/** Lanes of groups for which a slot is free: a resident model alone does not make a machine fit. */
function offered(lanes: readonly Lane[], groups: readonly GroupId[]): string[] {
  return lanes.filter(({ group }) => groups.includes(group)).map(laneKey);
}

function enterSet(sets: Map<string, SortedSet>, name: string, key: string, sinceMs: number): void {
  const set = sets.get(name) ?? new SortedSet();
  sets.set(name, set);
  set.set(key, sinceMs);
}

function leaveSet(sets: Map<string, SortedSet>, name: string, key: string): void {
  const set = sets.get(name);
  set?.delete(key);
  if (set?.size === 0) sets.delete(name);
}
