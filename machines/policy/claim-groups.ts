import { type ClaimRequest, claimGroupsLimit, claimLanesLimit, type GroupId } from '#protocol/broker.ts';
import type { Group } from '#protocol/requirements.ts';

/** A group that this machine may serve: its class meets it, and a pin, if any, names it. */
export interface ServableGroup {
  groupId: GroupId;
  group: Group;
  /** Entries known to wait; 0 may be out of date. */
  waiting: number;
}

export interface ResidentCopy {
  modelId: string;
  service: string;
  bytes: number;
}

export interface ClaimPolicy {
  /** How much more urgent a job of another pool must be, ms. */
  spillPenaltyMs: number;
  /** Assumed rate of a model's way to a machine and into memory, bytes per ms. */
  fetchBytesPerMs: number;
  /** Bound of the preference for a resident model, ms: an unbounded one starves cold jobs. */
  warmBonusLimitMs: number;
}

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
 * of `servable`, the own pool's first: there may be hundreds, and no claim sorts them. Lanes: each resident
 * model in each of those groups that has its service, at most 16, in the order of `resident` (most
 * valuable first).
 */
export function claimTargets(options: {
  servable: readonly ServableGroup[];
  freeServices: ReadonlySet<string>;
  pool: string;
  resident: readonly ResidentCopy[];
  policy: ClaimPolicy;
  turn: number;
}): ClaimTargets {
  const { servable, freeServices, pool, resident, policy, turn } = options;
  const foreign = (each: ServableGroup) => (each.group.pool === pool ? 0 : 1);
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
  const groups = chosen.map((each) => ({
    group: each.groupId,
    penaltyMs: foreign(each) * policy.spillPenaltyMs,
  }));
  const warmLanes: ClaimTargets['warmLanes'] = [];
  for (const copy of resident) {
    const bonusMs = Math.min(policy.warmBonusLimitMs, Math.ceil(copy.bytes / policy.fetchBytesPerMs));
    for (const each of chosen) {
      if (warmLanes.length === claimLanesLimit) return { groups, warmLanes };
      if (each.group.service === copy.service) {
        warmLanes.push({ group: each.groupId, affinity: copy.modelId, bonusMs });
      }
    }
  }
  return { groups, warmLanes };
}

/** More groups than a claim has places: those in front, and the next of the others. */
function inTurn(waiting: readonly ServableGroup[], turn: number): ServableGroup[] {
  const behind = waiting.slice(frontGroups);
  const places = claimGroupsLimit - frontGroups;
  const from = (turn * places) % behind.length;
  const round = [...behind.slice(from), ...behind.slice(0, from)];
  return [...waiting.slice(0, frontGroups), ...round.slice(0, places)];
}
