import { releaseAll, storeReport } from './beat.ts';
import type { Hub } from './hub.ts';
import type { MachineLink } from './links.ts';

/**
 * A machine says farewell: what it still holds goes back through Records, each with its attempt, and
 * the Broker forgets the incarnation. `underWay` are its beats and claims: one that reached the Broker
 * after the farewell would take the incarnation in again, so the farewell waits for them.
 */
export async function leaveHub(
  hub: Hub,
  machine: MachineLink,
  { reason, underWay }: { reason: string; underWay: Iterable<Promise<unknown>> },
): Promise<void> {
  const { machineId, incarnation } = machine;
  // Before the first await: what comes from now on is answered without the Broker.
  machine.leaving = true;
  machine.idle = false;
  hub.beats.discard(machine);
  await Promise.allSettled(underWay);
  const { leases } = await hub.broker.leave({ machineId, incarnation });
  hub.links.remove(machine);
  await releaseAll(hub, machine, leases, `machine left: ${reason}`);
  await storeReport(hub, machine, 'left');
  hub.poke.recorder();
}
