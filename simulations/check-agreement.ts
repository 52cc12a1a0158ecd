import { isTerminal, type Job } from '#protocol/job.ts';
import { type AuditView, type Checker, Violation } from './observation.ts';

const name = 'I11: both stores agree at rest';

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
 * Whenever nothing is under way, the Broker is open and holds exactly the jobs that Records say it
 * should, in the same state and under the same token.
 */
export function storesAgree(): Checker {
  return {
    name,
    audit(view) {
      if (!view.atRest) return;
      if (!view.brokerOpen) throw new Violation(name, { detail: 'the Broker is still closed at rest' });
      for (const job of view.jobs) checkAgreement(job, view);
    },
  };
}
