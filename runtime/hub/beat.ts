import type { ClaimTargets } from '#machines/policy/claim-groups.ts';
import type { BeatAnswer, BeatRequest, GroupId } from '#protocol/broker.ts';
import type { LinkAnswer, LinkBody } from '#protocol/link.ts';
import { type MachineRef, machineKey } from '#protocol/names.ts';
import type { CollectedBeat } from './beats.ts';
import { claimTargetsOf } from './claim.ts';
import { exitLease } from './exit.ts';
import { tellCordon } from './flags.ts';
import type { Hub } from './hub.ts';
import { endGrant, type MachineLink } from './links.ts';
import { drainDefaultMs, drainDefaultReason } from './machines.ts';

/**
 * Keeps all leases of an incarnation. Leases that it holds but has not named for two beats are
 * released through Records; the answer does not wait for that. The beat of an idle machine that would
 * tell the Broker nothing new is answered at once and goes there with those of others.
 */
export async function beat(
  hub: Hub,
  machine: MachineLink,
  body: LinkBody<'beat'>,
): Promise<LinkAnswer<'beat'>> {
  machine.running = body.running;
  // The Broker is told of it no more: its leases are being given back.
  if (machine.leaving) return { kind: 'ok', drop: [], cancel: [], work: false };
  tellCordon(machine);
  tellDrain(machine, body.report);
  const named = await beatGroups(hub, machine, freeServices(machine, body));
  // A claim may have got a job meanwhile.
  const free = freeServices(machine, body);
  machine.free = free;
  const groups = free.size === 0 ? [] : named;
  machine.groups = new Set(groups.map((each) => each.group));
  const { machineId, incarnation, classId } = machine;
  const { running, highestRequestId, openRequestId } = body;
  const request = { machineId, incarnation, classId, running, highestRequestId, openRequestId, groups };
  const ageMs = untoldMs(hub, machine, request);
  if (ageMs !== null) {
    hub.beats.collect(machine, request);
    hub.background('machine.report', report(hub, machine, body.report));
    return { kind: 'ok', drop: [], cancel: [], work: false, ageMs };
  }
  hub.beats.discard(machine);
  const { answer, sentMs } = await hub.beats.send(request);
  hub.background('machine.report', report(hub, machine, body.report));
  const { kind } = answer;
  if (kind === 'lapsed') {
    machine.granted.clear();
    machine.told = null;
    hub.poke.sweeper();
    return { kind };
  }
  if (kind === 'superseded') {
    machine.supersede();
    return { kind };
  }
  machine.idle = free.size > 0 && !answer.work;
  machine.told = isPlain(answer) ? { groups: groupsOf(request), sentMonotonicMs: sentMs } : null;
  heed(hub, machine, answer);
  for (const jobId of answer.drop) endGrant(machine, jobId);
  return { kind, drop: answer.drop, cancel: answer.cancel, work: answer.work };
}

/**
 * How long ago the Broker heard of this machine, ms, where its beat may be collected; else null. What
 * half a lease has passed over goes to the Broker whatever it says.
 */
function untoldMs(hub: Hub, machine: MachineLink, request: BeatRequest): number | null {
  if (machine.told === null || !tellsNothing(machine, request)) return null;
  const ageMs = Math.max(0, Math.ceil(hub.env.clock.monotonic() - machine.told.sentMonotonicMs));
  return ageMs < hub.config.leaseTtlMs / 2 ? ageMs : null;
}

/**
 * True where a beat tells the Broker nothing new: the machine runs nothing, asks for nothing, and
 * stands in the idle index for the same groups as before.
 */
function tellsNothing(machine: MachineLink, request: BeatRequest): boolean {
  const { told, claiming, leaving, granted, idle } = machine;
  if (told?.groups !== groupsOf(request) || claiming > 0 || leaving) return false;
  if (request.running.length > 0 || request.openRequestId !== null || granted.size > 0) return false;
  // Not idle any more: it was woken, or its claim found work. Its beat must enter it again (W11).
  return idle || request.groups.length === 0;
}

/** Idle machines that ask for themselves after a wake of another one. */
const askingLimit = 8;

/**
 * A wake may go to a machine that is dead. Of the others that idle for these groups some are collected
 * no more: their next beats ask the Broker, and are told of the work if it is still there.
 */
export function letOthersAsk(hub: Hub, groups: readonly GroupId[]): void {
  let asking = 0;
  for (const machine of hub.links.all()) {
    if (asking === askingLimit) return;
    if (machine.told === null || !machine.idle || !groups.some((group) => machine.groups.has(group)))
      continue;
    machine.told = null;
    asking++;
  }
}

/** True if a collected beat may go: the machine is linked here and as idle as when it sent it. */
export function stillIdle(hub: Hub, machine: MachineLink, request: BeatRequest): boolean {
  return hub.links.find(machine) === machine && tellsNothing(machine, request);
}

/** Of the machines that one collection tells of work so many are woken at once; the others' next beats ask. */
const wokenAtOnce = 4;

/**
 * What became of collected beats. Some machine or other was woken already for the work that they are
 * told of, but it may be dead: a few more are woken, and whoever takes a job wakes another while
 * there is more; if all of these are dead too, the next beat of any other machine is told (W11).
 */
export function carriedBeats(hub: Hub, beats: readonly CollectedBeat[]): void {
  let woken = 0;
  for (const { machine, request, answer: carried } of beats) {
    const answer = carried?.answer ?? null;
    if (carried === null || answer?.kind !== 'ok' || !isPlain(answer)) machine.told = null;
    // A beat that went at once meanwhile knows better.
    else if (machine.told?.groups === groupsOf(request))
      machine.told.sentMonotonicMs = Math.max(machine.told.sentMonotonicMs, carried.sentMs);
    if (answer?.kind === 'lapsed') hub.poke.sweeper();
    if (answer?.kind === 'superseded') machine.supersede();
    if (answer?.kind !== 'ok') continue;
    heed(hub, machine, answer);
    if (!answer.work || !machine.idle || woken === wokenAtOnce || !machine.notify('wake', {})) continue;
    machine.idle = false;
    woken++;
    hub.counters.wakesSent++;
  }
}

type ServedBeat = Extract<BeatAnswer, { kind: 'ok' }>;

/** Nothing but that its place in the idle index, if it has free slots, is as it says. */
function isPlain(answer: ServedBeat): boolean {
  return !answer.closed && !answer.work && answer.unnamed.length === 0;
}

/** The groups of a beat as text, whatever their order. */
function groupsOf(request: BeatRequest): string {
  return request.groups
    .map(({ group }) => group)
    .sort()
    .join(' ');
}

function heed(hub: Hub, machine: MachineLink, answer: ServedBeat): void {
  if (answer.closed) hub.poke.reconciler();
  hub.poke.sweeper(answer.earliestExpiryMs);
  if (answer.unnamed.length > 0)
    hub.background('unnamed.release', releaseAll(hub, machine, answer.unnamed, 'not named by two beats'));
}

/**
 * A drain that was asked for while the machine had no link. Once a link, and only to a machine that is
 * not draining yet: a second notice could shorten the deadline that an operator gave.
 */
function tellDrain(machine: MachineLink, { state }: LinkBody<'beat'>['report']): void {
  if (!machine.draining || machine.drainTold || state === 'draining') return;
  machine.drainTold = machine.notify('drain', { deadlineMs: drainDefaultMs, reason: drainDefaultReason });
}

/**
 * A cordoned or draining machine has no free slot, whatever it says: it must not be woken. Nor must one
 * that has not heard of the job that its open claim got, or that asked only after this beat and got one:
 * it asks again by itself if it has a slot left.
 */
function freeServices(
  machine: MachineLink,
  { free, openRequestId, highestRequestId }: LinkBody<'beat'>,
): ReadonlySet<string> {
  if (machine.cordoned || machine.draining) return new Set();
  const { leasedRequest } = machine;
  if (leasedRequest !== null && (openRequestId === leasedRequest || leasedRequest > highestRequestId))
    return new Set();
  return new Set(free.filter((each) => each.slots > 0).map((each) => each.service));
}

async function beatGroups(
  hub: Hub,
  machine: MachineLink,
  free: ReadonlySet<string>,
): Promise<ClaimTargets['groups']> {
  if (free.size === 0) return [];
  const isKnownEmpty = hub.pulse.recent()?.entries === 0;
  return (await claimTargetsOf(hub, machine, { free, resident: [], isKnownEmpty, isHeld: null })).groups;
}

/** Gives leases back through Records, one after the other: each keeps its attempt. */
export async function releaseAll(
  hub: Hub,
  holder: MachineRef,
  leases: readonly { jobId: string; token: string }[],
  reason: string,
): Promise<void> {
  const { machineId, incarnation } = holder;
  const actor = machineKey(holder);
  for (const { jobId, token } of leases) {
    await exitLease(hub, {
      jobId,
      token,
      cause: { kind: 'release', reason },
      holder: { machineId, incarnation },
      actor,
    });
  }
}

/** A report that changed is stored at once, an equal one as often as a lease lives: Records need no row per beat. */
async function report(hub: Hub, machine: MachineLink, next: LinkBody<'beat'>['report']): Promise<void> {
  const last = machine.report;
  machine.report = next;
  const nowMs = hub.env.clock.monotonic();
  const changed =
    last === null || last.state !== next.state || last.reasons.join('\n') !== next.reasons.join('\n');
  if (!changed && nowMs - machine.reportedAtMonotonicMs < hub.config.leaseTtlMs) return;
  machine.reportedAtMonotonicMs = nowMs;
  await storeReport(hub, machine, 'joined');
}

/** Models in a stored report: it has 64 KiB. The link tells all of them. */
const reportedModels = 200;

/** Writes what is known of the machine, residency included, for people to read; `atMs`: when it was heard last. */
export async function storeReport(
  hub: Hub,
  machine: MachineLink,
  state: 'joined' | 'left',
  atMs = hub.env.clock.now(),
): Promise<void> {
  const { machineId, incarnation } = machine;
  const residency = [...machine.residency.values()].slice(0, reportedModels);
  await hub.records.reportMachine({
    machineId,
    incarnation,
    state,
    report: { ...(machine.report ?? {}), residency },
    nowMs: atMs,
  });
}
