import { percentile } from '#runtime/percentile.ts';
import type { WaitFigures } from './result.ts';
import type { DayLog, LoggedExecution, LoggedJob } from './run-log.ts';

/** What one job waited, and what it is counted under. */
export interface JobWait {
  job: LoggedJob;
  waitMs: number;
}

/** A span of time in which a job waited for a machine; `untilMs` is the close of the log at the latest. */
export interface WaitSpan {
  job: LoggedJob;
  fromMs: number;
  untilMs: number;
  /** It follows a failed run, so part of it may be the backoff before the next attempt. */
  afterFailure: boolean;
}

/** The execution that ended its job with success, else the last one. */
function decisive(job: LoggedJob): LoggedExecution | undefined {
  return job.executions.findLast((run) => run.outcome === 'succeeded') ?? job.executions.at(-1);
}

/**
 * Waits of the jobs that succeeded: end − arrival − run / speed of the machine that ran it. A job that
 * had not ended at the close waited until then: a policy that never gets to a job does not look better
 * for it. Jobs that died, failed or were cancelled are left out: their end is no policy's merit.
 */
export function jobWaits(log: DayLog): JobWait[] {
  const closedMs = closeOf(log);
  const waits: JobWait[] = [];
  for (const job of log.jobs) {
    if (job.ended === null) waits.push({ job, waitMs: closedMs - job.arrivalMs });
    if (job.ended !== 'succeeded') continue;
    const speed = decisive(job)?.machine.planned.speed ?? 1;
    const waitMs = (job.endMs ?? closedMs) - job.arrivalMs - job.planned.runMs / speed;
    // Runs last whole ms on the clock: half a ms less than nothing is nothing.
    waits.push({ job, waitMs: Math.max(0, waitMs) });
  }
  return waits;
}

/** Figures of a list of waits, in any order. */
export function waitFigures(waits: readonly number[]): WaitFigures {
  const sorted = Float64Array.from(waits).sort();
  const sum = sorted.reduce((total, wait) => total + wait, 0);
  const ordered = sorted as unknown as readonly number[];
  return {
    jobs: sorted.length,
    meanMs: sorted.length === 0 ? 0 : sum / sorted.length,
    p50Ms: percentile(ordered, 0.5),
    p95Ms: percentile(ordered, 0.95),
    p99Ms: percentile(ordered, 0.99),
    maxMs: sorted.at(-1) ?? 0,
  };
}

/**
 * Jain's index over customers of (mean wait / mean run): 1 where each customer waits the same share of
 * its own work, 1/n where one of n customers waits and nobody else does. 1 where nobody waits.
 */
export function fairness(waits: readonly JobWait[]): number {
  const customers = [...Map.groupBy(waits, ({ job }) => job.planned.customer).values()];
  const shares = customers.map((group) => {
    const waited = group.reduce((sum, { waitMs }) => sum + waitMs, 0);
    const worked = group.reduce((sum, { job }) => sum + job.planned.runMs, 0);
    return waited / Math.max(1, worked);
  });
  const sum = shares.reduce((total, value) => total + value, 0);
  const squares = shares.reduce((total, value) => total + value * value, 0);
  return squares === 0 ? 1 : Math.min(1, (sum * sum) / (shares.length * squares));
}

/**
 * Spans in which each job waited to be taken: from its arrival, and again after each run that did not end
 * it. `takenMs` says when an execution took its job, which is at its claim unless told otherwise.
 */
export function waitSpans(
  log: DayLog,
  takenMs: (run: LoggedExecution) => number = (run) => run.claimedMs,
): WaitSpan[] {
  const closedMs = closeOf(log);
  const spans: WaitSpan[] = [];
  const add = (job: LoggedJob, fromMs: number, until: number | null, afterFailure: boolean) => {
    const untilMs = until ?? closedMs;
    if (untilMs > fromMs) spans.push({ job, fromMs, untilMs, afterFailure });
  };
  for (const job of log.jobs) {
    const [first] = job.executions;
    add(job, job.arrivalMs, first === undefined ? job.endMs : takenMs(first), false);
    job.executions.forEach((run, index) => {
      const next = job.executions[index + 1];
      // Between the last run and the end lies the commit, nobody waits for a machine.
      if (run.endedMs === null || (next === undefined && job.ended !== null)) return;
      add(job, run.endedMs, next === undefined ? null : takenMs(next), run.outcome === 'failed');
    });
  }
  return spans;
}

/** When the log ends; figures of a log that still grows would change with each call. */
export function closeOf(log: DayLog): number {
  if (log.closedMs === null)
    throw new Error('the log is still open: call close() when the day has been played');
  return log.closedMs;
}
