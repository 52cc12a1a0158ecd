import { type Checker, Violation } from './observation.ts';

const name = 'I1: no job is nowhere';

/** Every accepted job has a row, from the moment of the answer on, and the Broker holds no job without one. */
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
    },
  };
}
