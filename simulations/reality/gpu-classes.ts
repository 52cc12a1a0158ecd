import type { Rng } from '#protocol/env.ts';
import { rankAt, weighted } from './popularity.ts';

export const poolNames = ['fast-lane', 'standard', 'heavy'] as const;
export type PoolName = (typeof poolNames)[number];

/** A kind of machine that can be rented. */
export interface GpuClass {
  /** As nvidia-smi prints it. */
  gpu: string;
  vramMb: number;
  ramMb: number;
  diskBytes: number;
  /** Run times are divided by it. */
  speed: number;
  usdPerHour: number;
  /** Among the machines of its pool. */
  share: number;
}

/**
 * Cards by pool: 8, 12 and 24 GB with disks of 40, 100 and 250 GB, at a mean speed of 0.7, 1 and 1.8: the
 * machines of the routing prototype. Which cards make up a mean, their shares and the RAM are assumptions.
 * Prices: RTX 4090 0.30 $/h at high priority and RTX 3060 0.047 at low in SALAD's documents; the 3060 at
 * high priority and all others are assumptions on the same scale. Prices are illustrative: they move.
 */
export const gpuClasses: Record<PoolName, readonly GpuClass[]> = {
  'fast-lane': [
    card('NVIDIA GeForce RTX 2070', { gb: 8, speed: 0.6, usdPerHour: 0.05, share: 0.3 }),
    card('NVIDIA GeForce RTX 4060', { gb: 8, speed: 0.73, usdPerHour: 0.07, share: 0.3 }),
    card('NVIDIA GeForce RTX 3060 Ti', { gb: 8, speed: 0.75, usdPerHour: 0.07, share: 0.4 }),
  ],
  standard: [
    card('NVIDIA GeForce RTX 3060', { gb: 12, speed: 0.8, usdPerHour: 0.08, share: 0.5 }),
    card('NVIDIA GeForce RTX 4070', { gb: 12, speed: 1.2, usdPerHour: 0.14, share: 0.5 }),
  ],
  heavy: [
    card('NVIDIA GeForce RTX 3090', { gb: 24, speed: 1.5, usdPerHour: 0.22, share: 0.6 }),
    card('NVIDIA GeForce RTX 4090', { gb: 24, speed: 2.25, usdPerHour: 0.3, share: 0.4 }),
  ],
};

function card(
  gpu: string,
  is: { gb: 8 | 12 | 24; speed: number; usdPerHour: number; share: number },
): GpuClass {
  const diskGb = { 8: 40, 12: 100, 24: 250 }[is.gb];
  const ramGb = { 8: 16, 12: 32, 24: 48 }[is.gb];
  const { speed, usdPerHour, share } = is;
  return {
    gpu,
    vramMb: is.gb * 1024,
    ramMb: ramGb * 1024,
    diskBytes: diskGb * 1e9,
    speed,
    usdPerHour,
    share,
  };
}

const shares = Object.fromEntries(
  poolNames.map((pool) => [pool, weighted(gpuClasses[pool].map((one) => one.share))]),
) as Record<PoolName, Float64Array>;

export function drawGpuClass(rng: Rng, pool: PoolName): GpuClass {
  return gpuClasses[pool][rankAt(shares[pool], rng.next())] as GpuClass;
}

/** Memory of a card that is never given to jobs: its owner's desktop uses some of it, MiB; an assumption. */
export const vramReserveMb = 512;

/** The pool with the smallest cards on which `vramMb` is free; null where no card has that much. */
export function smallestPool(vramMb: number): PoolName | null {
  for (const pool of poolNames) {
    if (gpuClasses[pool].every((one) => one.vramMb - vramReserveMb >= vramMb)) return pool;
  }
  return null;
}
