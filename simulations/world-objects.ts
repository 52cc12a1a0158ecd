import { sleep } from '#protocol/env.ts';
import { EmpError } from '#protocol/errors.ts';
import type { Objects } from '#protocol/objects.ts';
import { type PortLayer, withLayers } from './port-layer.ts';
import type { SimProcess } from './sim-process.ts';
import type { World } from './world.ts';

const slowLookMs = 3_000;

/** The object store as a hub reaches it: not at all while it is down, and now and then slowly. */
export function simulatedObjects(world: World, process: SimProcess): Objects {
  const { buggify } = world.options;
  const layer: PortLayer = async (call, next) => {
    if (world.objectsDown > 0)
      throw new EmpError('INTERNAL', {
        detail: `simulated: objects.${call.method} of ${call.process} met an outage`,
        retryable: true,
      });
    if (buggify?.fires('objects.slow'))
      await sleep(process.env.clock, buggify.amount('objects.slow', 0, slowLookMs));
    return await next();
  };
  return withLayers<Objects>(world.objects, { process: process.name, port: 'objects', layers: [layer] });
}
