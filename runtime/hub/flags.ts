import type { Hub } from './hub.ts';
import type { MachineLink } from './links.ts';

/** Machines that report were seen by their hub within a few lease times. */
const seenLeases = 10;

export interface MachineFlags {
  cordoned: boolean;
  draining: boolean;
}

/** What an operator allows this machine; it is told apart. */
export function setLinkFlags(link: MachineLink, { cordoned, draining }: MachineFlags): void {
  link.cordoned = cordoned;
  link.draining = draining;
  if (cordoned || draining) link.idle = false;
}

/**
 * Brings the flags of linked machines in line with Records: another hub set them, and its word did
 * not reach this one. A drain is told with the next beat.
 */
export async function refreshFlags(hub: Hub): Promise<void> {
  if (!hub.peers.any || hub.links.size === 0) return;
  const seenAfterMs = hub.env.clock.now() - seenLeases * hub.config.leaseTtlMs;
  for (const row of await hub.records.listMachines({ seenAfterMs })) {
    const link = hub.links.find(row);
    if (link === null) continue;
    const isTold = link.cordoned === row.cordoned && (!link.draining || row.draining);
    setLinkFlags(link, row);
    if (!isTold) link.notify('cordon', { cordoned: row.cordoned });
  }
}
