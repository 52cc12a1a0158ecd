import type { BrokerSettings } from './broker.ts';

/**
 * The one scalar that orders waiting work, in GPU-ms per pool: start-time fair queueing with a bounded
 * boost. A customer's next job starts, in virtual time, when its last one finished; nobody's flood
 * can push another customer's first job back. Integers throughout, so that Lua and TypeScript agree.
 */

/** GPU-ms by which a priority moves a job ahead: 0 at priority 50, ± `priorityBoostMs` at 100 and 0. */
export function priorityBoostMs(priority: number, settings: Pick<BrokerSettings, 'priorityBoostMs'>): number {
  return Math.round(((priority - 50) * settings.priorityBoostMs) / 50);
}

/** Start and finish tags of a job that enters a pool now: `max(V, F)` and that plus its cost. */
export function fairTags(options: { virtualMs: number; finishMs: number; costMs: number }): {
  startMs: number;
  finishMs: number;
} {
  const startMs = Math.max(options.virtualMs, options.finishMs);
  return { startMs, finishMs: startMs + options.costMs };
}

/**
 * Where a pool stands in a claim: at its clock, or, where all that waits of it is ahead of that, at the
 * first of what the claim's groups hold. The next job of a customer alone in its pool begins as far
 * ahead of the clock as its last one was long: without this a pool of ten-minute jobs would be behind
 * every pool of short ones.
 */
export function poolStandMs(options: { clockMs: number; firstScoreMs: number }): number {
  return Math.max(options.clockMs, options.firstScoreMs);
}

/**
 * What a claim compares between lines: how far the line's head is ahead of where its pool stands, plus
 * the penalty for another pool, minus the load time that a resident model saves. Smaller goes first.
 */
export function claimRank(options: {
  headScoreMs: number;
  standMs: number;
  penaltyMs: number;
  bonusMs: number;
}): number {
  return options.headScoreMs - options.standMs + options.penaltyMs - options.bonusMs;
}
