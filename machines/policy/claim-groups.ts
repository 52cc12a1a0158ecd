import { type ClaimRequest, claimGroupsLimit, claimLanesLimit, type GroupId } from '#protocol/broker.ts';
import type { Group } from '#protocol/requirements.ts';

/** A group that this machine may serve: its class meets it, and where the group asks for one machine it is this one. */
export interface ServableGroup {
  groupId: GroupId;
  group: Group;
  /** Entries known to wait; 0 may be out of date. */
  waiting: number;
  /** No machine of its own pool that is there may serve it: whoever may takes it as one of their own. */
  isHomeless: boolean;
}

export interface ResidentCopy {
  modelId: string;
  service: string;
}

/** What is known of lanes, within the last second or so: by group their affinity keys. */
export interface LaneKnowledge {
  /** Those with claimable work, and how many wait in each; of a group with very many lanes not all. */
  waiting(group: GroupId): ReadonlyMap<string, number>;
  /** Those that had some at any time. */
  seen(group: GroupId): ReadonlySet<string>;
  /** Left to machines that have its model and are soon free. Asked of lanes with work whose model is not resident. */
  isHeld(lane: { group: GroupId; affinity: string }): boolean;
  /** Of a base model; null where it is not known. */
  bytesOf(modelId: string): number | null;
}

export interface ClaimPolicy {
  /** How much more urgent a job of another pool must be, ms. */
  spillPenaltyMs: number;
  /** What a ms counts that a pool without machines, or beside one, was given nothing. */
  ageWeight: number;
  /** Assumed rate of a model's way to a machine and into memory, bytes per ms. */
  fetchBytesPerMs: number;
  /** What the shortest way is worth, ms, and the longest that is told from none: an unbounded one starves cold jobs. */
  warmBonusLimitMs: number;
}

/**
 * Where a pool has been given nothing for so long, that counts no further, ms: one that was idle goes first
 * once, and five points of priority still outrank it.
 */
export const ageLimitMs = 60_000;

export interface ClaimTargets {
  groups: ClaimRequest['groups'];
  warmLanes: ClaimRequest['warmLanes'];
}

/** Places of a claim that go to the groups in front; the rest go round, so that every group gets its turn. */
const frontGroups = 24;

/**
 * What a claim asks for. Groups of services with a free slot only; at most 32. First those with waiting
 * work, of them the machine's own pool before others, then the fullest, then by id so that equal inputs
 * give equal requests; where more than 32 have waiting work, the last 8 places go round among those
 * behind the first 24, one step of 8 each `turn` (a count of claims, from 0). Then empty ones in the order
 * of `servable`, the own pool's first: there may be hundreds, and no claim sorts them. A group all of whose
 * work is held is left out. Lanes: `workLanes`, then `idleLanes`, at most 16; without `lanes` none, and
 * nothing is held.
 */
export function claimTargets(options: {
  servable: readonly ServableGroup[];
  freeServices: ReadonlySet<string>;
  pool: string;
  resident: readonly ResidentCopy[];
  lanes: LaneKnowledge | null;
  policy: ClaimPolicy;
  turn: number;
  /** How long no job of a pool has been given out, ms. */
  ageMs: (pool: string) => number;
}): ClaimTargets {
  const { servable, freeServices, pool, resident, lanes, policy, turn } = options;
  const foreign = (each: ServableGroup) => (each.group.pool === pool || each.isHomeless ? 0 : 1);
  const served = servable.filter((each) => freeServices.has(each.group.service));
  const waiting = served
    .filter((each) => each.waiting > 0)
    .sort((a, b) => foreign(a) - foreign(b) || b.waiting - a.waiting || (a.groupId < b.groupId ? -1 : 1));
  const chosen = waiting.length > claimGroupsLimit ? inTurn(waiting, turn) : waiting;
  // Whether work waits may be known too late: what is free for it asks for the others as well.
  for (const side of [0, 1]) {
    if (chosen.length === claimGroupsLimit) break;
    for (const each of served) {
      if (chosen.length === claimGroupsLimit) break;
      if (each.waiting === 0 && foreign(each) === side) chosen.push(each);
    }
  }
  const own = new Set([pool, ...chosen.flatMap((each) => (foreign(each) === 0 ? [each.group.pool] : []))]);
  const behindMs = inTurnOfAge(own, options);
  const target = (each: ServableGroup) => ({
    group: each.groupId,
    penaltyMs: behindMs(each.group.pool) + foreign(each) * policy.spillPenaltyMs,
  });
  if (lanes === null) return { groups: chosen.map(target), warmLanes: [] };
  const isHeld = heldOf({ resident, lanes });
  const open = chosen.filter((each) => !isWhollyHeld(each, { lanes, isHeld }));
  const groups = open.map(target);
  const work = workLanes(groups, { resident, lanes, policy, isHeld });
  // Where it finds nothing the Broker keeps it as idle by these: those that it would begin at once stand in all of them.
  const isNamed = new Set(work.map(({ group, affinity }) => `${group}/${affinity}`));
  const idle = idleLanes(open, { resident, lanes, policy });
  const others = idle.filter(({ group, affinity }) => !isNamed.has(`${group}/${affinity}`));
  return { groups, warmLanes: [...work, ...others].slice(0, claimLanesLimit) };
}

/** What of the claim's options decides on lanes. */
interface LaneOptions {
  /** Most valuable first. */
  resident: readonly ResidentCopy[];
  lanes: LaneKnowledge;
  policy: ClaimPolicy;
}

/** Affinity keys whose work has no model to wait for: what is resident, and `-` for none. */
const nothingMissing = (resident: readonly ResidentCopy[]) =>
  new Set(['-', ...resident.map(({ modelId }) => modelId)]);

/** True where all work of the group is held, none of it in lanes that are not known. */
function isWhollyHeld(
  { groupId: group, waiting }: ServableGroup,
  { lanes, isHeld }: Pick<LaneOptions, 'lanes'> & Pick<LaneKnowledge, 'isHeld'>,
): boolean {
  const known = lanes.waiting(group);
  let held = 0;
  for (const [affinity, count] of known) {
    if (!isHeld({ group, affinity })) return false;
    held += count;
  }
  return known.size > 0 && held >= waiting;
}

/** Whether a lane is held; each is asked for once a claim. */
function heldOf({ resident, lanes }: Omit<LaneOptions, 'policy'>): LaneKnowledge['isHeld'] {
  const isThere = nothingMissing(resident);
  const known = new Map<string, boolean>();
  return (lane) => {
    if (isThere.has(lane.affinity)) return false;
    const key = `${lane.group}/${lane.affinity}`;
    const isHeld = known.get(key) ?? lanes.isHeld(lane);
    known.set(key, isHeld);
    return isHeld;
  };
}

/**
 * Lanes with work, those that could begin first in front, at most 16. The bonus is the time by which work of
 * the lane begins before work whose way is as long as the bound or longer: all of the bound where the model is
 * resident or none is needed, less by the way of what is missing. A lane whose way is as long as that has none
 * and is reached by its group; beside a lane that is held it has half the bound at least, so that the group does
 * not bring what is held.
 */
function workLanes(
  groups: ClaimTargets['groups'],
  { resident, lanes, policy, isHeld }: LaneOptions & Pick<LaneKnowledge, 'isHeld'>,
): ClaimTargets['warmLanes'] {
  const isThere = nothingMissing(resident);
  const wayMs = (affinity: string) => {
    const bytes = isThere.has(affinity) ? 0 : lanes.bytesOf(affinity);
    return bytes === null ? Number.POSITIVE_INFINITY : Math.ceil(bytes / policy.fetchBytesPerMs);
  };
  return groups
    .flatMap(({ group, penaltyMs }) => {
      const all = [...lanes.waiting(group).keys()];
      const free = all.filter((affinity) => !isHeld({ group, affinity }));
      const leastMs = free.length < all.length ? Math.round(policy.warmBonusLimitMs / 2) : 0;
      return free.map((affinity) => {
        const bonusMs = Math.max(leastMs, policy.warmBonusLimitMs - wayMs(affinity));
        return { lane: { group, affinity, bonusMs }, penaltyMs };
      });
    })
    .filter(({ lane }) => lane.bonusMs > 0)
    .sort((a, b) => b.lane.bonusMs - b.penaltyMs - (a.lane.bonusMs - a.penaltyMs))
    .slice(0, claimLanesLimit)
    .map(({ lane }) => lane);
}

/**
 * An idle machine is known to the Broker by the lanes that it would begin at once, so that work which comes
 * to one of them wakes it before others: resident models in the groups of their service, at most 16, lanes
 * that have been used before those that never were, the most valuable models first.
 */
function idleLanes(
  groups: readonly ServableGroup[],
  { resident, lanes, policy }: LaneOptions,
): ClaimTargets['warmLanes'] {
  const bonusMs = policy.warmBonusLimitMs;
  const used: ClaimTargets['warmLanes'] = [];
  const unused: ClaimTargets['warmLanes'] = [];
  for (const { modelId: affinity, service } of resident) {
    for (const { groupId, group } of groups) {
      if (group.service !== service) continue;
      (lanes.seen(groupId).has(affinity) ? used : unused).push({ group: groupId, affinity, bonusMs });
      if (used.length === claimLanesLimit) return used;
    }
  }
  return [...used, ...unused].slice(0, claimLanesLimit);
}

/**
 * The first of each pool's line has one rank, however long it waits, so that of two pools with a line one
 * would be served alone. Where machines serve a pool that has none of its own beside theirs, the pools
 * take turns: each is behind by how much longer the one that has waited longest was given nothing. With one
 * pool that is nothing.
 */
function inTurnOfAge(
  pools: ReadonlySet<string>,
  { ageMs, policy, pool: own }: { ageMs: (pool: string) => number; policy: ClaimPolicy; pool: string },
): (pool: string) => number {
  if (pools.size === 1) return () => 0;
  const ages = new Map(
    [...pools].map((pool) => [pool, Math.min(ageLimitMs, Math.round(ageMs(pool) * policy.ageWeight))]),
  );
  const oldest = Math.max(...ages.values());
  // What belongs to the machines of yet another pool is as far behind the own pool as ever.
  return (pool) => oldest - (ages.get(pool) ?? ages.get(own) ?? 0);
}

/** More groups than a claim has places: those in front, and the next of the others. */
function inTurn(waiting: readonly ServableGroup[], turn: number): ServableGroup[] {
  const behind = waiting.slice(frontGroups);
  const places = claimGroupsLimit - frontGroups;
  const from = (turn * places) % behind.length;
  const round = [...behind.slice(from), ...behind.slice(0, from)];
  return [...waiting.slice(0, frontGroups), ...round.slice(0, places)];
}
