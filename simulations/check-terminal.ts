import { isTerminal, type Job, type JobState } from '#protocol/job.ts';
import { type Checker, Violation } from './observation.ts';

const name = 'I1: terminal stays terminal';

/** Keys under which answers of Records have rows. */
const rowKeys = ['job', 'jobs', 'items'] as const;

/** Every row of a job in an answer. */
function* rowsIn(answer: unknown): Generator<Pick<Job, 'id' | 'state'>> {
  if (Array.isArray(answer)) for (const each of answer) yield* rowsIn(each);
  else if (typeof answer === 'object' && answer !== null) {
    if ('id' in answer && 'fenceFloor' in answer) yield answer as Job;
    for (const key of rowKeys) if (key in answer) yield* rowsIn((answer as Record<string, unknown>)[key]);
  }
}

/**
 * An ended job leaves its state only by an operator's requeue, and a succeeded one never. Nor does anybody
 * bring it into the Broker again, with two exceptions: a full reconcile may do so for a moment, and ends it before
 * it opens; and who read the row while it was open may come between the commit of its end and the Broker step of
 * that, which takes it out again.
 */
export function terminalStays(): Checker {
  const ends = new Map<string, JobState>();
  /** By process and job: whether the row was open when it was last read there. */
  const readOpen = new Map<string, boolean>();
  const end = (jobId: string, state: JobState) => {
    const known = ends.get(jobId);
    if (known !== undefined && known !== state)
      throw new Violation(name, { jobId, detail: `${jobId} ended as ${known} and is ${state} now` });
    if (isTerminal(state)) ends.set(jobId, state);
  };
  return {
    name,
    observe(seen) {
      if (seen.kind === 'broker' && seen.method === 'submit' && seen.answer.kind === 'ok') {
        const { entries, ticket } = seen.args[0];
        for (const [index, { jobId }] of entries.entries()) {
          const state = ends.get(jobId);
          const isStale = readOpen.get(`${seen.process}/${jobId}`) === true;
          const isAdded = seen.answer.answers[index]?.kind === 'added';
          if (ticket === undefined && state !== undefined && isAdded && !isStale)
            throw new Violation(name, { jobId, detail: `${jobId} ended as ${state} and was driven again` });
        }
      }
      if (seen.kind !== 'records') return;
      for (const { id, state } of rowsIn(seen.answer))
        readOpen.set(`${seen.process}/${id}`, !isTerminal(state));
      if (seen.method === 'completeJob' && seen.answer.kind === 'committed')
        end(seen.args[0].jobId, 'succeeded');
      if (seen.method === 'completeJob' && seen.answer.kind === 'terminal')
        end(seen.args[0].jobId, seen.answer.state);
      if (seen.method === 'exitJob' && seen.answer.kind === 'ok') end(seen.args[0].jobId, seen.answer.state);
      if (seen.method === 'finishCancel' && seen.answer.kind === 'cancelled')
        end(seen.args[0].jobId, 'cancelled');
      if (seen.method === 'expireTtl' && seen.answer.kind === 'ok')
        for (const { jobId } of seen.answer.value) end(jobId, 'dead');
      if (seen.method === 'getJob' && seen.answer !== null) end(seen.answer.id, seen.answer.state);
      if (seen.method === 'requeueJob' && seen.answer.kind === 'requeued') {
        const jobId = seen.args[0].jobId;
        if (ends.get(jobId) === 'succeeded')
          throw new Violation(name, { jobId, detail: `${jobId} had succeeded and was requeued` });
        ends.delete(jobId);
      }
    },
    audit(view) {
      for (const job of view.jobs) end(job.id, job.state);
    },
  };
}
