import type { Job, JobRun, JobTransition } from '#protocol/job.ts';

/** One time that a job waited: from when it could be begun to when it was, or to its end without that. */
export interface JobWait {
  /** ms since 1970; of a job that is due later, that time, although it may have ended before. */
  sinceMs: number;
  /** Null while it waits. */
  untilMs: number | null;
  /** Of the run that ended it; null where there is none. */
  token: string | null;
}

/**
 * The times that a job waited, oldest first, at least one. A wait begins at the submit, at a requeue and
 * at the end of a run that did not end the job, or, where the job must not run before a later time, then.
 * Time in which a limit or a pause holds the job is part of it, and a run that one of them took back before
 * it began does not end it. For people; nothing decides by it.
 */
export function waitsOf(timeline: {
  job: Pick<Job, 'submittedAtMs' | 'notBeforeMs'>;
  transitions: readonly JobTransition[];
  runs: readonly JobRun[];
}): [JobWait, ...JobWait[]] {
  const { job, transitions, runs } = timeline;
  const waits: [JobWait, ...JobWait[]] = [newWait(job.submittedAtMs)];
  for (const change of transitions) {
    const wait = lastWait(waits);
    const { operation, to, token, atMs } = change;
    switch (operation) {
      case 'claim':
      case 'complete':
      case 'fail':
      case 'release':
      case 'expire':
        // Where its claim was not recorded, a run is known by its end alone.
        if (wait.untilMs === null) {
          wait.untilMs = runs.find((run) => run.token === token)?.startedAtMs ?? atMs;
          wait.token = token;
        }
        if (to === 'waiting' || to === 'scheduled' || to === 'held') waits.push(newWait(atMs));
        break;
      case 'withhold':
        Object.assign(wait, { untilMs: to === 'held' ? null : atMs, token: null });
        break;
      case 'cancel':
      case 'ttl':
        wait.untilMs ??= atMs;
        break;
      case 'requeue':
        waits.push(newWait(atMs));
        break;
      case 'promote':
        if (wait.untilMs === null) wait.sinceMs = atMs;
        break;
      case 'submit':
      case 'admit':
        break;
    }
  }
  const last = lastWait(waits);
  // Every end of a run writes this time anew, so it is the last wait's.
  last.sinceMs = Math.max(last.sinceMs, job.notBeforeMs ?? 0);
  return waits;
}

const newWait = (sinceMs: number): JobWait => ({ sinceMs, untilMs: null, token: null });

/** The one that goes on, or ended last. */
export function lastWait(waits: [JobWait, ...JobWait[]]): JobWait {
  return waits.at(-1) ?? waits[0];
}

/** How long a wait took, or has taken until now, ms; 0 of a job that is not due yet. */
export function waitedMs({ sinceMs, untilMs }: JobWait, nowMs: number): number {
  return Math.max(0, (untilMs ?? nowMs) - sinceMs);
}
