import type { BrokerPulse, LapsedLease } from '#protocol/broker.ts';
import { type MachineRef, machineKey } from '#protocol/names.ts';
import type { ExitCause } from '#protocol/records.ts';
import { exitLease } from './exit.ts';
import type { Hub } from './hub.ts';
import { reportLost } from './lost.ts';
import type { RoleLease } from './roles.ts';

const pageLimit = 64;
/** Against a Broker whose clock is behind ours: never asks sooner than this for what should have lapsed, ms. */
const leastWaitMs = 20;
/** A lease that would not move is met again after this, ms. */
const stuckWaitMs = 1_000;

/**
 * Empties incarnations whose lease has passed: each job expires (an attempt counted) or, rebuilt and
 * never adopted, is released; in Records first. Answers when to look again, ms from now: at the end of
 * the next lease, at the latest after one TTL. A `pulse` of the Broker may tell that nothing is due
 * yet. Stops at once when its role is lost.
 */
export async function sweepLapsed(
  hub: Hub,
  role: RoleLease,
  pulse: BrokerPulse | null = null,
): Promise<number | null> {
  if (role.current() === null) return null;
  // The beats that came since the timer was armed have extended what it was armed for.
  if (pulse?.open === true && !isDue(hub, pulse.earliestExpiryMs)) return waitMs(hub, pulse.earliestExpiryMs);
  for (;;) {
    if (role.current() === null) return null;
    const answer = await hub.broker.lapsed({ limit: pageLimit });
    if (answer.kind === 'closed') {
      hub.poke.reconciler();
      // Another hub may open it, and nobody tells this one.
      return stuckWaitMs;
    }
    const moved = await Promise.all(answer.leases.map((lease) => endLapsed(hub, lease)));
    await markSilent(hub, answer.leases);
    if (answer.leases.length === pageLimit && moved.some(Boolean)) continue;
    if (moved.some((each) => !each)) return stuckWaitMs;
    return waitMs(hub, answer.earliestExpiryMs);
  }
}

function isDue(hub: Hub, endsMs: number | null): boolean {
  return endsMs !== null && endsMs <= hub.env.clock.now();
}

/** One lease time at most: machines of other hubs begin leases that nobody tells this hub of. */
function waitMs(hub: Hub, earliestExpiryMs: number | null): number {
  const { leaseTtlMs } = hub.config;
  if (earliestExpiryMs === null) return leaseTtlMs;
  return Math.max(leastWaitMs, Math.min(leaseTtlMs, earliestExpiryMs - hub.env.clock.now()));
}

async function endLapsed(hub: Hub, lease: LapsedLease): Promise<boolean> {
  const { jobId, token, machineId, incarnation, rebuilt } = lease;
  const cause: ExitCause = rebuilt
    ? { kind: 'release', reason: 'the broker was rebuilt and the machine did not come back to the job' }
    : { kind: 'expire', reason: `machine ${machineKey(lease)} fell silent` };
  const exit = await exitLease(hub, {
    jobId,
    token,
    cause,
    holder: { machineId, incarnation },
    actor: 'sweeper',
  });
  return exit.kind === 'unknown' || exit.moved;
}

/** The incarnations that fell silent, for the list of machines. A machine that is back is marked by its next word. */
async function markSilent(hub: Hub, leases: readonly LapsedLease[]): Promise<void> {
  const silent = new Map<string, MachineRef>();
  for (const lease of leases) if (!lease.rebuilt) silent.set(machineKey(lease), lease);
  for (const ref of silent.values()) await reportLost(hub, ref);
}
