import type { Rng } from '#protocol/env.ts';
import { type Anchor, atShare } from './quantiles.ts';

/**
 * Rates of home connections, Mbit/s. Source: SALAD's speed tests on 100 instances: down P10 / P50 / P90
 * 97 / 392 / 803, up 39 / 281 / 734. Below and above these no figure was published; the ends are assumptions.
 */
const downMbps: readonly Anchor[] = [
  [0, 25],
  [0.1, 97],
  [0.5, 392],
  [0.9, 803],
  [1, 1000],
];
const upMbps: readonly Anchor[] = [
  [0, 10],
  [0.1, 39],
  [0.5, 281],
  [0.9, 734],
  [1, 1000],
];

const bytesPerMs = (mbps: number) => mbps * 125;

export interface Link {
  downBytesPerMs: number;
  upBytesPerMs: number;
}

/** The link of one machine. `factor` makes all links faster or slower alike; both directions are drawn apart. */
export function drawLink(rng: Rng, factor: number): Link {
  const down = atShare(downMbps, rng.next());
  const up = atShare(upMbps, rng.next());
  return { downBytesPerMs: bytesPerMs(down) * factor, upBytesPerMs: bytesPerMs(up) * factor };
}
