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
 * Tells a machine whether it may claim, unless it knows: whatever brought the flags here may have ended
 * before the word for the machine came. A drain is told apart; until it ends, no machine is opened.
 */
export function tellCordon(link: MachineLink): void {
  const { cordoned, draining, cordonTold } = link;
  if (cordoned === cordonTold || (draining && !cordoned)) return;
  sendCordon(link, cordoned);
}

/** False if the link is gone: a new one begins with a word on it. */
export function sendCordon(link: MachineLink, cordoned: boolean): boolean {
  if (!link.notify('cordon', { cordoned })) return false;
  link.cordonTold = cordoned;
  return true;
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
    setLinkFlags(link, row);
    tellCordon(link);
  }
}
