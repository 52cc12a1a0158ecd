import { EmpError } from '#protocol/errors.ts';
import { gpuModel } from '#protocol/gpu-model.ts';
import type { GpuDevice } from '#protocol/gpus.ts';
import type { MachineClass } from '#protocol/requirements.ts';
import { type MachineConfig, tagsOf } from './machine-config.ts';

type ClassConfig = Pick<
  MachineConfig,
  'pool' | 'diskBudgetMb' | 'tags' | 'reservedFor' | 'region' | 'gpu' | 'vramMb' | 'environment' | 'customers'
>;

/**
 * What a machine says of itself when it joins, services aside. What the driver tells of its cards
 * counts; what is configured of them stands in where no driver tells. Throws `CONFIG_INVALID` where the
 * two name different cards: jobs would go by the wrong one.
 */
export function machineClassOf(
  config: ClassConfig,
  host: { devices: readonly GpuDevice[]; ramMb: number; cpuCores: number },
): Omit<MachineClass, 'services'> {
  const cards = host.devices.filter((device) => device.kind === 'gpu');
  const gpus = modelsOf(cards, config.gpu);
  const { environment, customers, reservedFor } = config;
  return {
    pool: config.pool,
    vramMb: vramOf(cards, config.vramMb),
    ramMb: host.ramMb,
    diskMb: config.diskBudgetMb,
    cpuCores: host.cpuCores,
    tags: tagsOf(config),
    region: config.region,
    ...(gpus.length === 0 ? {} : { gpus }),
    ...(environment === null ? {} : { environment }),
    ...(customers === null ? {} : { customers }),
    // Not even an empty field where there is none: hubs of an older version refuse fields that they do not know.
    ...(reservedFor === null ? {} : { reservedFor: [...new Set(reservedFor)] }),
  };
}

function modelsOf(cards: readonly GpuDevice[], configured: readonly string[]): string[] {
  const unique = (names: readonly string[]) => [...new Set(names.map(gpuModel))].sort();
  const [told, named] = [unique(cards.map((card) => card.name)), unique(configured)];
  if (cards.length === 0) return named;
  if (named.length === 0 || named.join() === told.join()) return told;
  const detail = `EMP_GPU: the driver tells of ${told.join(', ')}, not of ${named.join(', ')}; leave it out, or name these`;
  throw new EmpError('CONFIG_INVALID', { detail, errors: [{ pointer: '/gpu', detail }] });
}

/** The smallest card decides: a slot may be on any of them. */
function vramOf(cards: readonly GpuDevice[], configured: number): number {
  if (cards.length === 0) return configured;
  const smallest = Math.min(...cards.map((card) => card.memoryMb));
  return configured > 0 ? Math.min(configured, smallest) : smallest;
}
