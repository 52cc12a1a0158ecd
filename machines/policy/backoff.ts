import type { Rng } from '#protocol/env.ts';

export interface BackoffPolicy {
  /** Upper bound of the first delay, ms. */
  baseMs: number;
  /** Upper bound of every delay, ms. */
  limitMs: number;
}

/**
 * Delay before try `attempt` + 1 may be claimed, after `attempt` (1-based) failed, in whole ms: full
 * jitter over `min(limitMs, baseMs · 2^(attempt − 1))`. Full jitter because whatever failed fifty
 * jobs at once would otherwise be asked by all fifty again at once.
 */
export function backoffMs(attempt: number, policy: BackoffPolicy, rng: Rng): number {
  const doublings = Math.min(Math.max(attempt, 1) - 1, 52);
  const boundMs = Math.min(policy.limitMs, policy.baseMs * 2 ** doublings);
  return rng.int(0, Math.max(0, Math.floor(boundMs)));
}
