import type { ClaimRequest, GroupId } from '#protocol/broker.ts';
import { type MachineRef, machineKey } from '#protocol/names.ts';
import { SortedSet } from './sorted-set.ts';

interface IdleMachine {
  ref: MachineRef;
  /** Groups and lanes as entered, to leave the same sets again; joined text tells a repeat apart. */
  groups: GroupId[];
  lanes: string[];
  entered: string;
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
    const groups = wants.groups.map((each) => each.group);
    const known = this.#machines.get(key);
    // A beat says which groups, not which lanes: it keeps the lanes of the last claim.
    const lanes = wants.warmLanes?.map((lane) => `${lane.group}/${lane.affinity}`) ?? known?.lanes ?? [];
    const entered = `${groups.join(' ')}|${lanes.join(' ')}`;
    if (known?.entered === entered) return;
    this.leave(ref);
    this.#machines.set(key, { ref, groups, lanes, entered });
    for (const group of groups) enterSet(this.#byGroup, group, key, sinceMs);
    for (const lane of lanes) enterSet(this.#byLane, lane, key, sinceMs);
  }

  leave(ref: MachineRef): void {
    const key = machineKey(ref);
    const known = this.#machines.get(key);
    if (known === undefined) return;
    this.#machines.delete(key);
    for (const group of known.groups) leaveSet(this.#byGroup, group, key);
    for (const lane of known.lanes) leaveSet(this.#byLane, lane, key);
  }

  /** Takes one machine for work in this lane, warm first; null if none that fits is idle. */
  take(lane: { group: GroupId; affinity: string }): MachineRef | null {
    const warm = this.#byLane.get(`${lane.group}/${lane.affinity}`)?.first();
    const found = warm ?? this.#byGroup.get(lane.group)?.first();
    const ref = found ? this.#machines.get(found.member)?.ref : undefined;
    if (ref === undefined) return null;
    this.leave(ref);
    return ref;
  }
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
