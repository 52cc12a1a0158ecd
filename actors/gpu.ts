import { fromPromise } from 'xstate';
import type { GpuReading, Gpus } from '#protocol/gpus.ts';

/** The effect of a card's actor. */
export function gpuActors({ gpus }: { gpus: Gpus }) {
  return {
    read: fromPromise<GpuReading, { uuid: string }>(({ input, signal }) => gpus.read(input.uuid, signal)),
  };
}

/** The Gpus of a machine without cards: one CPU device, whose slots are limited by configuration alone. */
export function cpuGpus(options: { name: string; memoryMb: number; freeMemoryMb: () => number }): Gpus {
  const uuid = 'cpu-0';
  return {
    list: async () => [{ uuid, kind: 'cpu', name: options.name, memoryMb: options.memoryMb }],
    read: async () => ({ uuid, freeMemoryMb: options.freeMemoryMb(), utilisation: 0, temperatureC: null }),
  };
}
