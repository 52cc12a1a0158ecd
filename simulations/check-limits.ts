import { covers, type Limit, type LimitedWork, limitKey } from '#protocol/limit.ts';
import { isTighter } from '#protocol/records-admissions.ts';
import { endedBy } from './ended-by.ts';
import { type Checker, type Observation, Violation } from './observation.ts';

const name = 'limits hold';

/** Ids of jobs that a step took out of what limits count: ended, or held again. */
function leftBy(seen: Observation): string[] {
  if (seen.kind === 'records' && seen.method === 'exitJob') {
    const { answer, args } = seen;
    if (answer.kind === 'ok' && answer.applied && answer.state === 'held') return [args[0].jobId];
  }
  return endedBy(seen);
}

/**
 * In the order in which the store has done its steps: whoever is let in finds room under every limit that
 * counts it and stands by then, and nobody of a paused customer is let in. What ran when a limit was set
 * may be more than it allows; then nobody is let in until it is less. Counted from the answers alone.
 */
export function limitsHold(): Checker {
  const limits = new Map<string, Limit>();
  const paused = new Set<string>();
  const inside = new Map<string, LimitedWork>();
  const judge = (jobId: string, work: LimitedWork) => {
    if (paused.has(work.customer))
      throw new Violation(name, { jobId, detail: `${jobId} of ${work.customer}, who is paused, was let in` });
    for (const limit of limits.values()) {
      if (limit.concurrent === undefined || !covers(limit, work)) continue;
      const key = limitKey(limit, work);
      const used = [...inside.values()].filter(
        (each) => covers(limit, each) && limitKey(limit, each) === key,
      );
      if (used.length <= limit.concurrent) continue;
      const detail = `${jobId} was let in as number ${used.length} under the limit ${limit.name} of ${limit.concurrent}`;
      throw new Violation(name, { jobId, detail });
    }
  };
  return {
    name,
    observe(seen) {
      if (seen.kind !== 'records') return;
      if (seen.method === 'putLimit') {
        // What waits is let in anew under a limit that is new or tighter, what runs counts: which is which
        // the answer does not tell, so none of them is counted here.
        const limit = seen.answer;
        if (isTighter(limits.get(limit.name) ?? null, limit))
          for (const [jobId, work] of inside) if (covers(limit, work)) inside.delete(jobId);
        limits.set(limit.name, limit);
      }
      if (seen.method === 'removeLimit') limits.delete(seen.args[0].name);
      if (seen.method === 'putPause' && seen.answer.kind === 'customer') paused.add(seen.answer.name);
      if (seen.method === 'endPause' && seen.args[0].kind === 'customer') paused.delete(seen.args[0].name);
      for (const jobId of leftBy(seen)) inside.delete(jobId);
      if (seen.method !== 'admitJobs') return;
      const { customer, pool, model } = seen.args[0];
      for (const { id, limited } of seen.answer.jobs) {
        if (limited) inside.set(id, { customer, pool, model });
        judge(id, { customer, pool, model });
      }
    },
  };
}
