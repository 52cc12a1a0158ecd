import { type Checker, Violation } from './observation.ts';

const name = 'attempts are counted by fail and expire only';

/** A reclaimed, released or cancelled run uses up no attempt, nor does an error that ends the job; one exit counts at most once. */
export function attemptsCounted(): Checker {
  const counted = new Map<string, number>();
  return {
    name,
    observe(seen) {
      if (seen.kind !== 'records') return;
      if (seen.method === 'requeueJob' && seen.answer.kind === 'requeued') counted.set(seen.args[0].jobId, 0);
      if (seen.method !== 'exitJob' || seen.answer.kind !== 'ok') return;
      const { jobId, cause, token } = seen.args[0];
      const before = counted.get(jobId) ?? 0;
      const again = cause.kind === 'expire' || (cause.kind === 'fail' && cause.error.retryable);
      const counts = seen.answer.applied && again;
      const expected = before + (counts ? 1 : 0);
      // An attempt that a requested cancel overtook may stay uncounted: the job has ended.
      const overtaken = seen.answer.state === 'cancelled' && seen.answer.attempts === before;
      if (seen.answer.attempts !== expected && !overtaken) {
        const what = seen.answer.applied ? cause.kind : `late ${cause.kind}`;
        throw new Violation(name, {
          jobId,
          detail: `${what} of ${jobId} with ${token} leaves ${seen.answer.attempts} attempts, expected ${expected}`,
        });
      }
      counted.set(jobId, seen.answer.attempts);
    },
    audit(view) {
      for (const job of view.jobs) {
        const expected = counted.get(job.id) ?? 0;
        if (job.attempts !== expected)
          throw new Violation(name, {
            jobId: job.id,
            detail: `the row of ${job.id} says ${job.attempts} attempts, its exits make ${expected}`,
          });
      }
    },
  };
}
