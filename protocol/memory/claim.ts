import type { ClaimAnswer, ClaimRequest, Wake } from '#protocol/broker.ts';
import type { JsonObject } from '#protocol/json.ts';
import { machineKey } from '#protocol/names.ts';
import { claimRank, poolStandMs } from '#protocol/score.ts';
import { claimToken } from '#protocol/token.ts';
import {
  addEvent,
  canServe,
  grant,
  isLapsed,
  isSuperseded,
  leaseEvent,
  unplace,
  wakeFor,
} from './entries.ts';
import type { Entry, Step } from './state.ts';

/**
 * Leases the best job this machine may run: two score lookups a line, one pop, index writes, no scan.
 * A repeat of a request is answered as before while that lease stands.
 */
export function claim(step: Step, request: ClaimRequest): ClaimAnswer {
  if (!step.isOpen) return { kind: 'closed' };
  if (isSuperseded(step, request)) return { kind: 'superseded' };
  if (isLapsed(step, request) || !canServe(step, request)) return { kind: 'lapsed' };
  const standing = leaseOfRequest(step, request);
  const best = standing === null ? popBest(step, request) : null;
  const entry = standing ?? best?.entry ?? null;
  if (entry === null) {
    step.data.idle.enter(request, request, step.nowMs);
    return { kind: 'empty' };
  }
  if (best !== null) lease(step, best, request);
  step.data.idle.leave(request);
  return { kind: 'leased', lease: grantOf(step, entry, request), ...leftover(step, request) };
}

/** An entry out of its lane, and what made its lane the best. */
interface Chosen {
  entry: Entry;
  bonusMs: number;
  penaltyMs: number;
}

/** The lease that this very request was given, if it still stands. */
function leaseOfRequest(step: Step, request: ClaimRequest): Entry | null {
  const jobs = step.data.held.get(machineKey(request));
  for (const { member } of jobs?.slice(null, jobs.size) ?? []) {
    const entry = step.data.entries.get(member);
    if (entry?.lease?.requestId === request.requestId) return entry;
  }
  return null;
}

function popBest(step: Step, request: ClaimRequest): Chosen | null {
  const lane = bestLane(step, request);
  const head = lane && step.data.current.laneHead(lane);
  const entry = head ? step.data.entries.get(head.jobId) : undefined;
  if (lane === null || entry === undefined) return null;
  unplace(step, entry);
  return { entry, bonusMs: lane.bonusMs, penaltyMs: lane.penaltyMs };
}

interface Lane {
  group: string;
  affinity: string;
}

/**
 * Smallest rank over the groups' heads and the warm lanes, each in the order of the request: of equal
 * ranks the first wins.
 */
function bestLane(step: Step, request: ClaimRequest): (Lane & Pick<Chosen, 'bonusMs' | 'penaltyMs'>) | null {
  const { current, virtualMs, entries } = step.data;
  const penaltyOf = new Map(request.groups.map((each) => [each.group, each.penaltyMs]));
  const poolOf = (head: { jobId: string }) => entries.get(head.jobId)?.pool ?? '';
  const stand = new Map<string, number>();
  for (const { group } of request.groups) {
    const head = current.groupHead(group);
    const first = head && current.laneHead({ group, affinity: head.affinity });
    if (!first) continue;
    const pool = poolOf(first);
    stand.set(pool, Math.min(stand.get(pool) ?? Number.POSITIVE_INFINITY, first.score));
  }
  let best: (Lane & Pick<Chosen, 'bonusMs' | 'penaltyMs'> & { rank: number }) | null = null;
  const consider = ({ group, affinity }: Lane, bonusMs: number) => {
    const head = current.laneHead({ group, affinity });
    const penaltyMs = penaltyOf.get(group);
    if (head === null || penaltyMs === undefined) return;
    const pool = poolOf(head);
    const clockMs = virtualMs.get(pool) ?? 0;
    const standMs = poolStandMs({ clockMs, firstScoreMs: stand.get(pool) ?? clockMs });
    const rank = claimRank({ headScoreMs: head.score, standMs, penaltyMs, bonusMs });
    if (best === null || rank < best.rank) best = { group, affinity, bonusMs, penaltyMs, rank };
  };
  for (const { group } of request.groups) {
    const head = current.groupHead(group);
    if (head !== null) consider({ group, affinity: head.affinity }, 0);
  }
  for (const lane of request.warmLanes) consider(lane, lane.bonusMs);
  return best;
}

function lease(step: Step, { entry, bonusMs, penaltyMs }: Chosen, request: ClaimRequest): void {
  const { data } = step;
  const token = claimToken({ nowMs: step.nowMs, previous: entry.token, fenceFloor: entry.fenceFloor });
  data.virtualMs.set(entry.pool, Math.max(data.virtualMs.get(entry.pool) ?? 0, entry.startMs));
  entry.runs++;
  entry.notBeforeMs = null;
  const { machineId, incarnation, requestId } = request;
  grant(
    step,
    entry,
    { machineId, incarnation, requestId, missedBeats: 0, fraction: 0, awaited: false },
    token,
  );
  addEvent(step, { ...leaseEvent(entry, 'leased'), choice: { bonusMs, penaltyMs } });
  data.operations++;
}

function grantOf(step: Step, entry: Entry, request: ClaimRequest) {
  const { jobId, token, group, affinity, runs: run, attempts, fenceFloor, rebuilt } = entry;
  const body = entry.body === null ? null : (JSON.parse(entry.body) as JsonObject);
  const expiresAtMs = step.data.alive.score(machineKey(request)) ?? step.nowMs;
  return { jobId, token, group, affinity, run, attempts, fenceFloor, body, rebuilt, expiresAtMs };
}

/** Whether this machine could claim again, and an idle machine for what it leaves behind. */
function leftover(step: Step, request: ClaimRequest): { more: boolean; wake: Wake } {
  let more = false;
  for (const { group } of request.groups) {
    const head = step.data.current.groupHead(group);
    if (head === null) continue;
    more = true;
    const wake = wakeFor(step, { group, affinity: head.affinity });
    if (wake !== null) return { more, wake };
  }
  return { more, wake: null };
}
