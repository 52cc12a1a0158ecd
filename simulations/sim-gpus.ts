import { cpuGpus } from '#actors/gpu.ts';
import { EmpError } from '#protocol/errors.ts';
import type { Gpus } from '#protocol/gpus.ts';
import type { Buggify } from './buggify.ts';

const memoryMb = 16_000;

/** The one device of a simulated machine, whose driver may fall silent for a while or for one reading. */
export function simGpus(options: { lost: () => boolean; buggify?: Buggify }): Gpus {
  const device = cpuGpus({ name: 'cpu', memoryMb, freeMemoryMb: () => memoryMb });
  return {
    list: (signal) => device.list(signal),
    read: async (uuid, signal) => {
      if (options.lost() || options.buggify?.fires('gpu.no reading'))
        throw new EmpError('CONNECTOR_FAILED', {
          detail: `simulated: the driver does not answer for ${uuid}`,
        });
      return await device.read(uuid, signal);
    },
  };
}
