import type { Tell } from '#protocol/hub-link.ts';
import { sendCordon } from './flags.ts';
import type { Hub } from './hub.ts';

/**
 * Tells a machine something over its link, here or through the hub that holds it. False where nobody
 * can: its next beat tells.
 */
export function tellMachine(hub: Hub, tell: Tell): boolean {
  if (hub.links.find(tell.machine) !== null) return tellLinked(hub, tell);
  const { machineId, incarnation } = tell.machine;
  return hub.peers.sendTo(tell.machine, 'tell', { ...tell, machine: { machineId, incarnation } });
}

/** The same for a machine of this hub alone: what another hub asked for goes no further. */
export function tellLinked(hub: Hub, tell: Tell): boolean {
  const link = hub.links.find(tell.machine);
  if (link === null) return false;
  switch (tell.notice) {
    case 'cancel':
      return link.notify('cancel', tell.body);
    case 'preempt':
      return link.notify('preempt', tell.body);
    case 'drop':
      return link.notify('drop', tell.body);
    case 'cordon':
      return sendCordon(link, tell.body.cordoned);
    case 'drain':
      if (!link.notify('drain', tell.body)) return false;
      link.drainTold = true;
      return true;
  }
}
