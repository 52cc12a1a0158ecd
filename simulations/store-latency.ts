import { type Clock, type Rng, sleep } from '#protocol/env.ts';
import type { PortLayer } from './port-layer.ts';

export interface StoreLatency {
  clock: Clock;
  rng: Rng;
  /** Usual delay each way, ms: drawn evenly up to this. */
  usualMs: number;
  /** Chance that one way takes up to `slowMs`: a retransmit, a fork of the server, a vacuum. */
  slowChance: number;
  slowMs: number;
}

/**
 * Calls reach a store after a delay and their answers return after another, each drawn from the seed.
 * This is what interleaves processes: of the calls under way the clock picks the next one, alone, and
 * two calls of one process may overtake each other as two connections of a pool do.
 */
export function storeLatency(options: StoreLatency): PortLayer {
  const { clock, rng, usualMs, slowChance, slowMs } = options;
  const oneWay = () => (rng.next() < slowChance ? rng.next() * slowMs : rng.next() * usualMs);
  return async (_call, next) => {
    await sleep(clock, oneWay());
    try {
      return await next();
    } finally {
      await sleep(clock, oneWay());
    }
  };
}
