/**
 * The hold rule (delay scheduling): an idle machine leaves a job whose model it lacks to a machine that has it
 * and will be free before the model could have come here. Each job that is left is bounded in time by the
 * caller; these functions only compare.
 */

/** A run is taken to last at least this share of what it has lasted: one that overruns is not due at once. */
const overrunShare = 0.3;

/** A holder must be this much sooner: what is expected of runs is a guess, and what is held waits for sure. */
const soonerShare = 0.7;

/** What is left of a run, ms: as expected, or as it has gone on for where that is over. */
export function residualMs(run: { expectedMs: number; elapsedMs: number }): number {
  return Math.max(run.expectedMs - run.elapsedMs, overrunShare * run.elapsedMs);
}

/**
 * Whether a lane is left to those who have its model. `startInMs`: of each of them the time until it could begin
 * the lane's next job, after what it runs and what else waits for its models. `wayMs`: time until the model were
 * here.
 */
export function isWorthHolding(options: { wayMs: number; startInMs: readonly number[] }): boolean {
  return Math.min(Number.POSITIVE_INFINITY, ...options.startInMs) < soonerShare * options.wayMs;
}
