import type { Rng } from '#protocol/env.ts';

/**
 * From disk into the card's memory, bytes per ms. Source: a 14B model of 4 bits (about 8.7 GB) loads in 7 s
 * from NVMe and in 18 s from SATA (a review site: weak). That 7 of 10 rented machines have NVMe, and that
 * equal disks differ by a fifth either way, are assumptions.
 */
const nvmeBytesPerMs = 8.7e9 / 7_000;
const sataBytesPerMs = 8.7e9 / 18_000;
const nvmeShare = 0.7;
const spread = 0.2;

export function drawDiskRate(rng: Rng): number {
  const base = rng.next() < nvmeShare ? nvmeBytesPerMs : sataBytesPerMs;
  return base * (1 - spread + 2 * spread * rng.next());
}
