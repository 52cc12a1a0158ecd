import { type BrokerView, type GroupId, leadersLimit, viewedLanesLimit } from '#protocol/broker.ts';
import { SortedSet } from './sorted-set.ts';

/**
 * The lines of claimable work of one generation: lanes by score, groups by the head of their best
 * lane, and what is not yet due. Heads are exact: every change of a lane updates them, so that a
 * claim looks up scores and never scans.
 */
export class LaneIndex {
  /** Lane key → job ids by score. */
  readonly #lanes = new Map<string, SortedSet>();
  /** Group → affinity keys by the score of their lane's head. */
  readonly #groupLanes = new Map<GroupId, SortedSet>();
  /** Groups by the score of their best head. */
  #heads = new SortedSet();
  readonly #waitingOf = new Map<GroupId, number>();
  /** Job ids by the time before which they are not claimable. */
  delayed = new SortedSet();
  #waiting = 0;

  get waiting(): number {
    return this.#waiting;
  }

  get isEmpty(): boolean {
    return this.#waiting === 0 && this.delayed.size === 0;
  }

  push(item: { jobId: string; group: GroupId; affinity: string; score: number }): void {
    const key = laneOf(item);
    let lane = this.#lanes.get(key);
    if (lane === undefined) {
      lane = new SortedSet();
      this.#lanes.set(key, lane);
    }
    lane.set(item.jobId, item.score);
    this.#waiting++;
    this.#waitingOf.set(item.group, (this.#waitingOf.get(item.group) ?? 0) + 1);
    this.#refreshHead(item);
  }

  /** True if the job waited in this lane. */
  remove(item: { jobId: string; group: GroupId; affinity: string }): boolean {
    const key = laneOf(item);
    const lane = this.#lanes.get(key);
    if (lane === undefined || !lane.delete(item.jobId)) return false;
    if (lane.size === 0) this.#lanes.delete(key);
    this.#waiting--;
    const left = (this.#waitingOf.get(item.group) ?? 1) - 1;
    if (left === 0) this.#waitingOf.delete(item.group);
    else this.#waitingOf.set(item.group, left);
    this.#refreshHead(item);
    return true;
  }

  /** Head of a group's best lane; null if nothing of the group waits. */
  groupHead(group: GroupId): { affinity: string; score: number } | null {
    const first = this.#groupLanes.get(group)?.first();
    return first ? { affinity: first.member, score: first.score } : null;
  }

  laneHead(lane: { group: GroupId; affinity: string }): { jobId: string; score: number } | null {
    const first = this.#lanes.get(laneOf(lane))?.first();
    return first ? { jobId: first.member, score: first.score } : null;
  }

  /** The job whose line is first of all; used to move a generation in order. */
  firstOfAll(): string | null {
    const group = this.#heads.first();
    if (group === null) return null;
    const head = this.groupHead(group.member);
    return head === null
      ? null
      : (this.laneHead({ group: group.member, affinity: head.affinity })?.jobId ?? null);
  }

  /** Entries ahead of this one in its lane. */
  ahead(item: { jobId: string; group: GroupId; affinity: string }): number {
    return this.#lanes.get(laneOf(item))?.rank(item.jobId) ?? 0;
  }

  /** Where an entry that waits stands among the lanes of its group, as `BrokerView` tells it. */
  standing(item: {
    jobId: string;
    group: GroupId;
    affinity: string;
    score: number;
  }): Pick<BrokerView, 'aheadInGroup' | 'leaders'> {
    let aheadInGroup = this.ahead(item);
    const leaders: BrokerView['leaders'] = [];
    const lanes = this.#groupLanes.get(item.group)?.slice(null, viewedLanesLimit) ?? [];
    for (const { member: affinity, score } of lanes) {
      if (score > item.score) break;
      const isOwn = affinity === item.affinity;
      const lane = { group: item.group, affinity };
      if (!isOwn) aheadInGroup += this.#lanes.get(laneOf(lane))?.below(item.score) ?? 0;
      const head = this.laneHead(lane);
      if (head === null || head.jobId === item.jobId || leaders.length === leadersLimit) continue;
      if (isOwn || score < item.score) leaders.push({ jobId: head.jobId, affinity, score });
    }
    return { aheadInGroup, leaders };
  }

  /** Lanes that are not empty: groups by id, lanes of each by their heads, equal ones by name. */
  lanes(limits: { ofGroup: number; ofAll: number }): { group: GroupId; affinity: string; waiting: number }[] {
    const found: { group: GroupId; affinity: string; waiting: number }[] = [];
    for (const group of [...this.#waitingOf.keys()].sort()) {
      const limit = Math.min(limits.ofGroup, limits.ofAll - found.length);
      if (limit === 0) break;
      for (const { member: affinity } of this.#groupLanes.get(group)?.slice(null, limit) ?? [])
        found.push({ group, affinity, waiting: this.#lanes.get(laneOf({ group, affinity }))?.size ?? 0 });
    }
    return found;
  }

  get waitingOf(): ReadonlyMap<GroupId, number> {
    return this.#waitingOf;
  }

  copy(): LaneIndex {
    const copied = new LaneIndex();
    for (const [key, lane] of this.#lanes) copied.#lanes.set(key, lane.copy());
    for (const [group, lanes] of this.#groupLanes) copied.#groupLanes.set(group, lanes.copy());
    for (const [group, waiting] of this.#waitingOf) copied.#waitingOf.set(group, waiting);
    copied.#heads = this.#heads.copy();
    copied.delayed = this.delayed.copy();
    copied.#waiting = this.#waiting;
    return copied;
  }

  #refreshHead(lane: { group: GroupId; affinity: string }): void {
    const head = this.#lanes.get(laneOf(lane))?.first() ?? null;
    let lanes = this.#groupLanes.get(lane.group);
    if (lanes === undefined) {
      lanes = new SortedSet();
      this.#groupLanes.set(lane.group, lanes);
    }
    if (head === null) lanes.delete(lane.affinity);
    else lanes.set(lane.affinity, head.score);
    const best = lanes.first();
    if (best === null) {
      this.#groupLanes.delete(lane.group);
      this.#heads.delete(lane.group);
    } else {
      this.#heads.set(lane.group, best.score);
    }
  }
}

/** Waiting entries per group over these generations, most first, equal counts by group. */
export function waitingByGroup(indexes: readonly LaneIndex[]): { group: GroupId; waiting: number }[] {
  const sums = new Map<GroupId, number>();
  for (const { waitingOf } of indexes) {
    for (const [group, waiting] of waitingOf) sums.set(group, (sums.get(group) ?? 0) + waiting);
  }
  return [...sums]
    .map(([group, waiting]) => ({ group, waiting }))
    .sort((a, b) => b.waiting - a.waiting || (a.group < b.group ? -1 : 1));
}

function laneOf(lane: { group: GroupId; affinity: string }): string {
  return `${lane.group}/${lane.affinity}`;
}
