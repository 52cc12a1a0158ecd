import { isTerminal } from '#protocol/job.ts';
import { type Checker, Violation } from './observation.ts';

const name = 'I12: what has ended leaves nothing behind';

/**
 * At rest, when every job has ended: the Broker holds no entry, no lease, no waiting count and no event
 * that Records have; tombstones, which live for a while by design, are no more than the jobs that ended.
 */
export function drained(): Checker {
  return {
    name,
    audit(view) {
      if (!view.atRest || view.jobs.some((job) => !isTerminal(job.state))) return;
      const { waiting, delayed, leased, groups, tombstones } = view.stats;
      const left: Record<string, number> = {
        entries: view.broker.size,
        waiting,
        delayed,
        leased,
        'groups with a count': groups.length,
        events: view.events,
        'tombstones too many': Math.max(0, tombstones - view.jobs.length),
      };
      for (const [what, count] of Object.entries(left)) {
        if (count > 0)
          throw new Violation(name, { detail: `every job has ended and the Broker keeps ${what}: ${count}` });
      }
    },
  };
}
