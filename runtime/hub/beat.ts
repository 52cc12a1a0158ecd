import type { ClaimTargets } from '#machines/policy/claim-groups.ts';
import type { LinkAnswer, LinkBody } from '#protocol/link.ts';
import { type MachineRef, machineKey } from '#protocol/names.ts';
import { claimTargetsOf } from './claim.ts';
import { exitLease } from './exit.ts';
import type { Hub } from './hub.ts';
import type { MachineLink } from './links.ts';
import { drainDefaultMs, drainDefaultReason } from './machines.ts';

/**
 * Keeps all leases of an incarnation. Leases that it holds but has not named for two beats are
 * released through Records; the answer does not wait for that.
 */
export async function beat(
  hub: Hub,
  machine: MachineLink,
  body: LinkBody<'beat'>,
): Promise<LinkAnswer<'beat'>> {
  machine.running = body.running;
  tellDrain(machine, body.report);
  const free = freeServices(machine, body.free);
  machine.free = free;
  const groups = await beatGroups(hub, machine, free);
  machine.groups = new Set(groups.map((each) => each.group));
  const { machineId, incarnation, classId } = machine;
  const answer = await hub.broker.beat({
    machineId,
    incarnation,
    classId,
    running: body.running,
    highestRequestId: body.highestRequestId,
    openRequestId: body.openRequestId,
    groups,
  });
  hub.background('machine.report', report(hub, machine, body.report));
  if (answer.kind === 'lapsed') {
    machine.granted.clear();
    hub.poke.sweeper();
    return { kind: 'lapsed' };
  }
  if (answer.kind === 'superseded') {
    machine.supersede();
    return { kind: 'superseded' };
  }
  machine.idle = free.size > 0 && !answer.work;
  if (answer.closed) hub.poke.reconciler();
  hub.poke.sweeper(answer.earliestExpiryMs);
  for (const jobId of answer.drop) machine.granted.delete(jobId);
  if (answer.unnamed.length > 0)
    hub.background('unnamed.release', releaseAll(hub, machine, answer.unnamed, 'not named by two beats'));
  return { kind: 'ok', drop: answer.drop, cancel: answer.cancel, work: answer.work };
}

/**
 * A drain that was asked for while the machine had no link. Once a link, and only to a machine that is
 * not draining yet: a second notice could shorten the deadline that an operator gave.
 */
function tellDrain(machine: MachineLink, { state }: LinkBody<'beat'>['report']): void {
  if (!machine.draining || machine.drainTold || state === 'draining') return;
  machine.drainTold = machine.notify('drain', { deadlineMs: drainDefaultMs, reason: drainDefaultReason });
}

/** A cordoned or draining machine has no free slot, whatever it says: it must not be woken. */
function freeServices(machine: MachineLink, free: LinkBody<'beat'>['free']): ReadonlySet<string> {
  if (machine.cordoned || machine.draining) return new Set();
  return new Set(free.filter((each) => each.slots > 0).map((each) => each.service));
}

async function beatGroups(
  hub: Hub,
  machine: MachineLink,
  free: ReadonlySet<string>,
): Promise<ClaimTargets['groups']> {
  if (free.size === 0) return [];
  return (await claimTargetsOf(hub, machine, { free, resident: [] })).groups;
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

/** Writes what is known of the machine, residency included, for people to read. */
export async function storeReport(hub: Hub, machine: MachineLink, state: 'joined' | 'left'): Promise<void> {
  const { machineId, incarnation } = machine;
  const residency = [...machine.residency.values()].slice(0, reportedModels);
  await hub.records.reportMachine({
    machineId,
    incarnation,
    state,
    report: { ...(machine.report ?? {}), residency },
    nowMs: hub.env.clock.now(),
  });
}
