import { closeRestMsOf } from '#runtime/hub-config.ts';
import { storeReport } from './beat.ts';
import type { Hub } from './hub.ts';
import { heardAtMs, type MachineLink } from './links.ts';

/**
 * A link ended without LEAVE. Its lease is shortened first; then Records are told when it was heard
 * last, because no hub can tell from now on. A hub that is stopping does neither: its machines are on
 * their way to others.
 */
export async function linkEnded(hub: Hub, machine: MachineLink): Promise<void> {
  if (hub.stopping) return;
  const atMs = heardAtMs(hub.env.clock, machine);
  // It has come back already, to another hub.
  if (hub.peers.holds(machine)) return;
  await Promise.all([shortenLease(hub, machine), noteHeard(hub, machine, atMs)]);
}

/** Time for a reconnect is left, not the whole lease. A hub so young that its machines are still coming shortens nothing. */
async function shortenLease(hub: Hub, machine: MachineLink): Promise<void> {
  const ageMs = hub.env.clock.monotonic() - hub.startedAtMonotonicMs;
  if (ageMs < Math.min(30_000, hub.config.leaseTtlMs)) return;
  const { machineId, incarnation } = machine;
  const { earliestExpiryMs } = await hub.broker.shorten({
    machineId,
    incarnation,
    restMs: closeRestMsOf(hub.config),
  });
  hub.poke.sweeper(earliestExpiryMs);
}

/** One that was silent for a lease time is marked as lost instead, with the time when it was heard. */
async function noteHeard(hub: Hub, machine: MachineLink, atMs: number): Promise<void> {
  if (machine.silentMs() >= hub.config.leaseTtlMs) return;
  await storeReport(hub, machine, 'joined', atMs);
}
