import { claimGroupsLimit, type GroupId, type Wake } from '#protocol/broker.ts';
import { wakeHopsLimit } from '#protocol/hub-link.ts';
import { letOthersAsk } from './beat.ts';
import type { Hub } from './hub.ts';

/**
 * Tells an idle machine of work that fits. One that is linked to another hub is told by that hub; one
 * that is linked nowhere, or takes nothing now, passes its wake on to the next that the Broker names.
 * After `hops` machines, over all hubs, it is given up: their next beats tell of the work.
 */
export async function deliverWake(
  hub: Hub,
  wake: { machine: Wake; groups: readonly GroupId[]; hops?: number; fromPeer?: boolean },
): Promise<void> {
  const groups = wake.groups.slice(0, claimGroupsLimit);
  let { machine, fromPeer = false } = wake;
  for (let hops = wake.hops ?? wakeHopsLimit; machine !== null && hops > 0; hops--) {
    const { machineId, incarnation } = machine;
    const link = hub.links.find(machine);
    if (link !== null && !link.cordoned && !link.draining && link.notify('wake', {})) {
      link.idle = false;
      hub.counters.wakesSent++;
      letOthersAsk(hub, groups);
      return;
    }
    // A hub that was told to wake a machine of its own and has it no more does not send it round.
    const mayRoute = link === null && !fromPeer;
    const ref = { machineId, incarnation };
    if (mayRoute && hub.peers.sendTo(machine, 'wake', { machine: ref, groups, hops })) {
      hub.counters.wakesToPeers++;
      letOthersAsk(hub, groups);
      return;
    }
    fromPeer = false;
    hub.counters.wakesPassedOn++;
    machine = (await hub.broker.passWake({ machineId, incarnation, groups })).wake;
  }
}

/** Wakes an idle machine of this hub that fits the group and idles without having named it; false if there is none. */
export function wakeUnnamed(hub: Hub, groupId: GroupId): boolean {
  const group = hub.groups.get(groupId);
  const idle = group === null ? null : hub.links.idleWithout(groupId, group);
  if (idle === null) return false;
  idle.idle = false;
  idle.notify('wake', {});
  hub.counters.wakesSent++;
  return true;
}
