import type { Rng } from '#protocol/env.ts';

/** Waits between tries of one thing on one machine: links, connectors, children of a supervisor. */
export interface RetryDelays {
  /** Upper bound of the first wait, ms. */
  baseMs: number;
  /** No wait is longer, ms. */
  limitMs: number;
}

/**
 * Wait before try `attempt` (1 = the first retry), ms: full jitter, uniform in
 * `0 … min(limitMs, baseMs × 2^(attempt−1))`, because machines that lost one hub together must not
 * come back together.
 */
export function retryDelayMs(attempt: number, { baseMs, limitMs }: RetryDelays, rng: Rng): number {
  const ceilingMs = Math.min(limitMs, baseMs * 2 ** Math.min(attempt - 1, 30));
  return Math.floor(rng.next() * (ceilingMs + 1));
}

export type Strategy = 'one-for-one' | 'rest-for-one' | 'all-for-one';
/** permanent: always runs · transient: again only after a failure · temporary: never again. */
export type RestartType = 'permanent' | 'transient' | 'temporary';

/** Ids that stop and start again when `failed` does, in start order. `ids` is the start order of all. */
export function restartSet(strategy: Strategy, ids: readonly string[], failed: string): string[] {
  const at = ids.indexOf(failed);
  if (at === -1) return [];
  if (strategy === 'one-for-one') return [failed];
  return strategy === 'rest-for-one' ? ids.slice(at) : [...ids];
}

/** A child that never came up counts double: restarting what cannot start only makes noise. */
export function failureWeight(failure: 'init' | 'run'): number {
  return failure === 'init' ? 2 : 1;
}

/** Whether a child that ended in this way is to run again. */
export function runsAgain(restart: RestartType, end: 'failed' | 'finished'): boolean {
  return restart === 'permanent' || (restart === 'transient' && end === 'failed');
}
