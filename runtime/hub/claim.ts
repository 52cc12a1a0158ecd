import type { LaneKnowledge, ResidentCopy } from '#machines/policy/claim-groups.ts';
import type { ClaimAnswer, LeaseGrant } from '#protocol/broker.ts';
import { isTerminal, type Job } from '#protocol/job.ts';
import type { Assignment, ClaimOffer, ClaimResult } from '#protocol/link.ts';
import { compareTokens, tokenAfter } from '#protocol/token.ts';
import { type AssignmentBody, assignmentBody, EntryBody } from './broker-entry.ts';
import { endInBroker, exitLease } from './exit.ts';
import { forbidden, mayForbid, workOf } from './held-back.ts';
import type { Hub } from './hub.ts';
import type { MachineLink } from './links.ts';

/**
 * How many entries one claim may clear away that have ended or that limits forbid, and for how long, ms,
 * before it answers `empty` and has the machine ask again: a pause may find thousands of them.
 */
const clearLimit = 200;
const clearMs = 1_000;

/**
 * Claims one job for a machine: free services and resident models become groups and warm lanes, the
 * Broker picks. A grant from a rebuild, or without a body, is read in Records before it is handed
 * out; one whose job has ended, or that limits forbid, is cleared away and the claim goes on.
 */
export async function claimJob(hub: Hub, machine: MachineLink, offer: ClaimOffer): Promise<ClaimResult> {
  const isClosed = machine.cordoned || machine.draining;
  // The machine takes this for the word itself, and asks no more.
  if (isClosed) machine.cordonTold = true;
  if (isClosed || machine.leaving) return { kind: 'cordoned' };
  const free = new Set(offer.free.filter((each) => each.slots > 0).map((each) => each.service));
  machine.free = free;
  if (free.size === 0) return { kind: 'empty' };
  machine.claiming++;
  try {
    return await claimFor(hub, machine, { offer, free });
  } finally {
    machine.claiming--;
  }
}

async function claimFor(
  hub: Hub,
  machine: MachineLink,
  options: { offer: ClaimOffer; free: ReadonlySet<string> },
): Promise<ClaimResult> {
  const { offer, free } = options;
  const { groups, warmLanes } = await claimTargetsOf(hub, machine, {
    free,
    resident: offer.resident,
    isKnownEmpty: false,
    isHeld: (lane) => hub.holds.isHeld(hub, machine, lane),
  });
  if (machine.leaving) return { kind: 'cordoned' };
  machine.groups = new Set(groups.map((each) => each.group));
  const { machineId, incarnation, classId } = machine;
  const endMs = hub.env.clock.monotonic() + clearMs;
  for (let tries = 0; tries < clearLimit && hub.env.clock.monotonic() < endMs; tries++) {
    hub.counters.claims++;
    const answer = await hub.broker.claim({
      machineId,
      incarnation,
      classId,
      requestId: offer.requestId,
      groups,
      warmLanes,
    });
    if (answer.kind !== 'leased') return refusal(hub, machine, answer);
    machine.idle = false;
    machine.leasedRequest = offer.requestId;
    hub.wake(
      answer.wake,
      groups.map((each) => each.group),
    );
    hub.poke.recorder();
    // A machine that never beats again must still be swept.
    hub.poke.sweeper(answer.lease.expiresAtMs);
    const assignment = await assign(hub, machine, answer.lease);
    if (assignment === null) continue;
    const { jobId, token, group, attempts } = answer.lease;
    const { service, expectedMs } = assignment;
    hub.groups.noteGiven(group);
    hub.holds.noteGiven(answer.lease);
    const sinceMonotonicMs = hub.env.clock.monotonic();
    machine.granted.set(jobId, { token, group, attempts, run: { service, expectedMs, sinceMonotonicMs } });
    return { kind: 'leased', assignment, more: answer.more };
  }
  machine.notify('wake', {});
  return { kind: 'empty' };
}

/**
 * Groups and lanes of a machine with these free services, for claims and beats. `isKnownEmpty`: no job
 * waits at all, so that nothing need be counted.
 */
export async function claimTargetsOf(
  hub: Hub,
  machine: MachineLink,
  offer: {
    free: ReadonlySet<string>;
    resident: readonly string[];
    isKnownEmpty: boolean;
    /** Lanes that are left to others; null for a beat, which names no lanes and has the machine ask while work is there. */
    isHeld: LaneKnowledge['isHeld'] | null;
  },
) {
  await hub.directories.refresh();
  // Which lanes and, of a machine that serves many, which groups have work.
  if (!offer.isKnownEmpty) await hub.backlog.waiting();
  const resident = offer.resident.flatMap((modelId): ResidentCopy[] => {
    const model = hub.models.peek(modelId);
    return model === null ? [] : [{ modelId, service: model.service }];
  });
  const { spillPenaltyMs, ageWeight, fetchBytesPerMs, warmBonusLimitMs } = hub.config;
  const policy = { spillPenaltyMs, ageWeight, fetchBytesPerMs, warmBonusLimitMs };
  return hub.groups.targets(machine, {
    freeServices: offer.free,
    resident,
    lanes: offer.isHeld === null ? null : laneKnowledge(hub, offer.isHeld),
    policy,
    isOpen: hub.pauses.isOpen,
  });
}

const laneKnowledge = (hub: Hub, isHeld: LaneKnowledge['isHeld']): LaneKnowledge => ({
  waiting: (group) => hub.lanes.waiting(group),
  seen: (group) => hub.lanes.seen(group),
  isHeld,
  bytesOf: (modelId) => hub.models.bytesOf(modelId),
});

function refusal(
  hub: Hub,
  machine: MachineLink,
  answer: Exclude<ClaimAnswer, { kind: 'leased' }>,
): ClaimResult {
  switch (answer.kind) {
    case 'empty':
      machine.idle = true;
      return { kind: 'empty' };
    case 'lapsed':
      // Only a beat ends a lapse, and it must reach the Broker.
      machine.told = null;
      hub.poke.sweeper();
      return { kind: 'lapsed' };
    case 'superseded':
      machine.supersede();
      return { kind: 'superseded' };
    case 'closed':
      hub.poke.reconciler();
      return { kind: 'closed' };
  }
}

/** The job as the machine gets it; null where Records say that this lease must not run. */
async function assign(hub: Hub, machine: MachineLink, lease: LeaseGrant): Promise<Assignment | null> {
  const carried = lease.rebuilt || lease.body === null ? null : EntryBody.safeParse(lease.body);
  if (carried?.success) {
    const { customer, ...body } = carried.data;
    if (!mayForbid(hub, lease, customer)) return assignment(lease, body);
  }
  const row = await hub.records.getJob(lease.jobId);
  if (row === null || !mayRun(row, lease)) {
    await clearAway(hub, machine, { lease, row });
    return null;
  }
  const reason = forbidden(hub, workOf(row), row.limited);
  if (reason === null) return assignment(lease, assignmentBody(row));
  const { jobId, token } = lease;
  await exitLease(hub, { jobId, token, cause: { kind: 'withhold', reason }, holder: machine, actor: 'hub' });
  return null;
}

function assignment(lease: LeaseGrant, body: AssignmentBody): Assignment {
  const { jobId, token, run, attempts } = lease;
  return { jobId, token, run, attempts, ...body };
}

function mayRun(row: Job, lease: LeaseGrant): boolean {
  return (
    !isTerminal(row.state) &&
    row.state !== 'held' &&
    row.cancelRequestedAtMs === null &&
    compareTokens(lease.token, row.fenceFloor) >= 0
  );
}

/** An entry that outlived its job, or a lease older than the row: put right by the ordinary steps. */
async function clearAway(
  hub: Hub,
  machine: MachineLink,
  options: { lease: LeaseGrant; row: Job | null },
): Promise<void> {
  const { lease, row } = options;
  const { jobId, token } = lease;
  if (row === null || isTerminal(row.state)) {
    await endInBroker(hub, { jobId, token, fenceFloor: row?.fenceFloor ?? tokenAfter(token) });
    return;
  }
  const cancelled = row.cancelRequestedAtMs !== null;
  const cause = cancelled
    ? ({ kind: 'cancel', reason: 'cancelled before it started' } as const)
    : ({ kind: 'release', reason: 'the lease was older than the record of the job' } as const);
  await exitLease(hub, { jobId, token, cause, holder: machine, actor: 'reconciler' });
}
