import type { MachineRef } from '#protocol/names.ts';
import type { Hub } from './hub.ts';
import { linkCloseCodes } from './link-limits.ts';
import { heardAtMs } from './links.ts';
import type { RoleLease } from './roles.ts';

/** Reports come once per lease time at least: after this many of them without one a machine is silent. */
const silentLeases = 3;
/** Machines that were silent for longer were marked long ago, ms. */
const lookBackMs = 86_400_000;

/** Marks joined machines that fell silent, for people; leases are judged by the Broker alone. */
export async function markLost(hub: Hub, role: RoleLease): Promise<void> {
  if (role.current() === null) return;
  const nowMs = hub.env.clock.now();
  const silentBeforeMs = nowMs - silentLeases * hub.config.leaseTtlMs;
  const rows = await hub.records.listMachines({ seenAfterMs: nowMs - lookBackMs });
  for (const row of rows) {
    if (row.state === 'joined' && row.lastSeenAtMs < silentBeforeMs) await reportLost(hub, row);
  }
}

/**
 * Marks an incarnation as lost unless it speaks over a link of this hub, or is linked to another; a link that it has left
 * silent for a lease time is closed. Keeps the last report: what a machine said before it fell silent
 * is what people look for, and with it when it was heard last: of a link that this call finds, or `lastMs`.
 */
export async function reportLost(hub: Hub, ref: MachineRef, lastMs: number | null = null): Promise<void> {
  const link = hub.links.find(ref);
  const heardMs = link === null ? lastMs : heardAtMs(hub.env.clock, link);
  if (link !== null && link.silentMs() < hub.config.leaseTtlMs) return;
  // That hub closes a link that falls silent, and says so.
  if (link === null && hub.peers.holds(ref)) return;
  link?.close(linkCloseCodes.silent, 'the lease passed without a word');
  const { machineId, incarnation } = ref;
  const row = await hub.records.getMachine(machineId);
  if (row === null || row.incarnation !== incarnation || row.state !== 'joined') return;
  const { report } = row;
  // Silence is not seeing: being lost moves no time, so this comes before.
  if (heardMs !== null)
    await hub.records.reportMachine({ machineId, incarnation, state: 'joined', report, nowMs: heardMs });
  const nowMs = hub.env.clock.now();
  await hub.records.reportMachine({ machineId, incarnation, state: 'lost', report, nowMs });
  hub.poke.recorder();
}
