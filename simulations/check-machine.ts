import { siblingsLimit } from '#machines/supervise.ts';
import { Violation } from './observation.ts';
import type { World } from './world.ts';
import type { WorldMachine } from './world-machine.ts';

/** Limits that the machine's own parts set themselves; what waits at an edge never passes them. */
const depthLimits: Readonly<Record<string, number>> = {
  notices: 1_024,
  requests: 512,
  sendBufferBytes: 4 * 1_048_576,
  siblings: siblingsLimit,
};

/** A machine as it stands: no actor without a parent, no inbox over its limit, no byte over its disk. */
export function checkMachine(machine: WorldMachine): void {
  const { machineId, cacheBytes, cacheLimitBytes, disk, running } = machine;
  const orphans = machine.orphans();
  if (orphans.length > 0)
    throw new Violation('no orphan actor', {
      detail: `${machineId} has actors without a parent: ${orphans.join(', ')}`,
    });
  for (const [edge, depth] of Object.entries(running?.depths?.() ?? {})) {
    const limit = depthLimits[edge];
    if (limit === undefined)
      throw new Violation('every inbox has a limit', { detail: `nothing bounds ${edge} of ${machineId}` });
    if (depth > limit)
      throw new Violation('every inbox has a limit', {
        detail: `${edge} of ${machineId} holds ${depth}, its limit is ${limit}`,
      });
  }
  if (cacheBytes > cacheLimitBytes)
    throw new Violation('the cache stays within its bytes', {
      detail: `${machineId} keeps ${cacheBytes} bytes of models, its limit is ${cacheLimitBytes}`,
    });
  if (disk.usedBytes > disk.capacityBytes)
    throw new Violation('the disk stays within its bytes', {
      detail: `${machineId} keeps ${disk.usedBytes} bytes on a disk of ${disk.capacityBytes}`,
    });
}

/** After the heal and a while: every machine works again, and its hub knows what lies on its disk. */
export async function checkRested(world: World): Promise<void> {
  const links = world.hubs.flatMap((hub) => (hub.serving ? hub.core.hub.links.all() : []));
  for (const machine of world.machines) {
    const { machineId, running } = machine;
    const joined = links.filter((link) => link.machineId === machineId);
    const [link] = joined;
    if (running?.serving !== true || link === undefined)
      throw new Violation('every machine works again', {
        detail: `${machineId} is ${running === null ? 'down' : running.over ? 'over' : running.serving ? 'on no hub' : 'not ready'} after the heal`,
      });
    const lying = await running.resident?.();
    if (lying === undefined) continue;
    const told = [...link.residency.values()].filter(({ state }) => state === 'resident');
    const known = told.map(({ modelId }) => modelId).sort();
    if (known.join() !== lying.sort().join())
      throw new Violation('hubs know what lies where', {
        detail: `${machineId} holds ${lying.join(', ') || 'nothing'}, its hub knows of ${known.join(', ') || 'nothing'}`,
      });
  }
}
