import type { BeatAnswer, BeatRequest, BeatsAnswer, BrokerPulse } from '#protocol/broker.ts';
import { type JobId, machineKey } from '#protocol/names.ts';
import { compareTokens, type FencingToken } from '#protocol/token.ts';
import {
  addEvent,
  grant,
  isAdoptable,
  isLapsed,
  isSettling,
  isSuperseded,
  keepAlive,
  leaseEvent,
  unplace,
} from './entries.ts';
import type { Entry, Step } from './state.ts';

/** Beats that must fail to name a settled lease before it is taken back. */
const missedBeatsLimit = 2;
/** Adoptions remembered while closed; more running work than this is adopted by its next beat. */
const adoptionsLimit = 100_000;

/** One beat after the other; every answer carries the earliest end as it is after the last one. */
export function beats(step: Step, requests: BeatRequest[]): BeatsAnswer {
  const given = requests.map((request) => beat(step, request));
  const pulse = pulseOf(step);
  const { earliestExpiryMs } = pulse;
  const answers = given.map((each) => (each.kind === 'ok' ? { ...each, earliestExpiryMs } : each));
  return { answers, pulse };
}

function pulseOf({ data, identity, isOpen }: Step): BrokerPulse {
  const { entries, lastEventId, alive } = data;
  const earliestExpiryMs = alive.first()?.score ?? null;
  return { identity, open: isOpen, entries: entries.size, lastEventId, earliestExpiryMs };
}

/**
 * Keeps every lease of an incarnation, compares what it runs with what it holds, and says whether
 * there is work. A closed Broker acknowledges, adopts, and drops nothing.
 */
export function beat(step: Step, request: BeatRequest): BeatAnswer {
  if (isSuperseded(step, request)) return { kind: 'superseded' };
  if (isLapsed(step, request)) return { kind: 'lapsed' };
  keepAlive(step, request, step.nowMs + step.settings.leaseTtlMs);
  const drop: JobId[] = [];
  const cancel: JobId[] = [];
  const named = new Set<JobId>();
  for (const { jobId, token } of request.running) {
    const entry = nameRunning(step, request, { jobId, token });
    if (entry === null) {
      if (step.isOpen) drop.push(jobId);
      continue;
    }
    named.add(jobId);
    if (entry.cancelRequested) cancel.push(jobId);
  }
  const unnamed = step.isOpen ? countUnnamed(step, request, named) : [];
  const work = step.isOpen && offerWork(step, request);
  const earliestExpiryMs = step.data.alive.first()?.score ?? null;
  return { kind: 'ok', drop, cancel, unnamed, work, closed: !step.isOpen, earliestExpiryMs };
}

/** The entry that this incarnation holds with this token, adopted now if it must be; null if it holds none. */
function nameRunning(
  step: Step,
  request: BeatRequest,
  run: { jobId: JobId; token: FencingToken },
): Entry | null {
  const { data } = step;
  const { machineId, incarnation } = request;
  const entry = data.entries.get(run.jobId);
  if (entry === undefined) {
    if (!step.isOpen && data.adoptions.size < adoptionsLimit) {
      // Of two machines that say they run it, the newer claim counts, whoever speaks last.
      const known = data.adoptions.get(run.jobId);
      if (known === undefined || compareTokens(run.token, known.token) > 0)
        data.adoptions.set(run.jobId, { token: run.token, ref: { machineId, incarnation } });
    }
    return null;
  }
  const isHolder = entry.lease?.machineId === machineId && entry.lease.incarnation === incarnation;
  if (entry.lease !== null && isHolder && entry.token === run.token) {
    entry.lease.missedBeats = 0;
    if (entry.lease.awaited) addEvent(step, leaseEvent(entry, 'adopted'));
    entry.lease.awaited = false;
    entry.rebuilt = false;
    return entry;
  }
  if (!isAdoptable(step, entry, run.token)) return null;
  unplace(step, entry);
  entry.runs++;
  const lease = { machineId, incarnation, requestId: 0, missedBeats: 0, fraction: 0, awaited: false };
  grant(step, entry, lease, run.token);
  entry.rebuilt = false;
  addEvent(step, leaseEvent(entry, 'adopted'));
  data.operations++;
  return entry;
}

/** Settled leases that beats keep leaving out: the machine never got them, or lost them. */
function countUnnamed(
  step: Step,
  request: BeatRequest,
  named: ReadonlySet<JobId>,
): { jobId: JobId; token: FencingToken }[] {
  const unnamed: { jobId: JobId; token: FencingToken }[] = [];
  const jobs = step.data.held.get(machineKey(request));
  for (const { member } of jobs?.slice(null, jobs.size) ?? []) {
    const entry = step.data.entries.get(member);
    if (!entry?.lease || named.has(member)) continue;
    const { requestId, awaited } = entry.lease;
    // Which request a rebuilt lease came from is not known: it may be one that is open since before the
    // loss. Its time alone would never end it, because the beats that leave it out extend it.
    if (awaited && request.openRequestId !== null && isSettling(step)) continue;
    if (requestId > request.highestRequestId || requestId === request.openRequestId) continue;
    entry.lease.missedBeats++;
    if (entry.lease.missedBeats >= missedBeatsLimit) unnamed.push({ jobId: member, token: entry.token });
  }
  return unnamed;
}

/** True if something claimable fits a free slot; else the machine (re)enters the idle index. */
function offerWork(step: Step, request: BeatRequest): boolean {
  if (request.groups.length === 0) {
    step.data.idle.leave(request);
    return false;
  }
  if (request.groups.some(({ group }) => step.data.current.groupHead(group) !== null)) return true;
  step.data.idle.enter(request, request, step.nowMs);
  return false;
}
