import { claimGroupsLimit, type GroupId, type Wake } from '#protocol/broker.ts';
import type { Hub } from './hub.ts';

/** Machines that one wake may be passed to before it is given up: their next beats tell of the work. */
const hopsLimit = 8;

/**
 * Tells an idle machine of work that fits. One that is not linked here, or takes nothing now, passes
 * its wake on to the next that the Broker names.
 */
export async function deliverWake(hub: Hub, first: Wake, groups: readonly GroupId[]): Promise<void> {
  let machine = first;
  for (let hops = 0; machine !== null && hops < hopsLimit; hops++) {
    const { machineId, incarnation } = machine;
    const link = hub.links.find(machine);
    if (link !== null && !link.cordoned && !link.draining && link.notify('wake', {})) {
      link.idle = false;
      hub.counters.wakesSent++;
      return;
    }
    hub.counters.wakesPassedOn++;
    machine = (
      await hub.broker.passWake({ machineId, incarnation, groups: groups.slice(0, claimGroupsLimit) })
    ).wake;
  }
}
