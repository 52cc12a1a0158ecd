import { isTerminal, type Job } from '#protocol/job.ts';
import { type AuditView, type Checker, Violation } from './observation.ts';

const name = 'no job is nowhere';

/** Broker states that fit a row's state when nothing is under way. Records may learn of a promotion later. */
const fitting = { waiting: ['waiting'], scheduled: ['delayed', 'waiting'], leased: ['leased'] } as const;

function checkAgreement(job: Job, view: AuditView): void {
  const entry = view.broker.get(job.id);
  const refuse = (detail: string): never => {
    throw new Violation(name, { jobId: job.id, detail });
  };
  if (isTerminal(job.state)) {
    if (entry) refuse(`${job.id} is ${job.state} in Records and ${entry.state} in the Broker`);
    return;
  }
  if (job.state === 'held') {
    if (entry) refuse(`${job.id} is held in Records and ${entry.state} in the Broker`);
    return;
  }
  if (!entry) return refuse(`${job.id} is ${job.state} in Records and unknown to the Broker`);
  const allowed: readonly string[] = fitting[job.state as keyof typeof fitting];
  if (!allowed.includes(entry.state))
    refuse(`${job.id} is ${job.state} in Records and ${entry.state} in the Broker`);
  if (job.state === 'leased' && entry.token !== job.token) {
    refuse(`${job.id} is leased with ${job.token} in Records and with ${entry.token} in the Broker`);
  }
}

/**
 * Every accepted job has a row, from the moment of the answer on; and whenever nothing is under way,
 * the Broker holds exactly the jobs that Records say it should, in the same state.
 */
export function noJobNowhere(): Checker {
  const accepted = new Set<string>();
  return {
    name,
    observe(seen) {
      if (seen.kind === 'accepted') accepted.add(seen.jobId);
    },
    audit(view) {
      const rows = new Set(view.jobs.map((job) => job.id));
      for (const jobId of accepted) {
        if (!rows.has(jobId))
          throw new Violation(name, { jobId, detail: `${jobId} was accepted and has no row` });
      }
      for (const jobId of view.broker.keys()) {
        if (!rows.has(jobId))
          throw new Violation(name, { jobId, detail: `${jobId} is in the Broker and has no row` });
      }
      if (!view.atRest) return;
      if (!view.brokerOpen) throw new Violation(name, { detail: 'the Broker is still closed at rest' });
      for (const job of view.jobs) checkAgreement(job, view);
    },
  };
}
