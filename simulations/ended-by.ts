import { isTerminal } from '#protocol/job.ts';
import type { Observation } from './observation.ts';

/** Ids of the jobs that have ended by this step, as a client that follows the events learns. */
export function endedBy(seen: Observation): string[] {
  if (seen.kind !== 'records') return [];
  switch (seen.method) {
    case 'completeJob':
      return seen.answer.kind === 'committed' ? [seen.args[0].jobId] : [];
    case 'exitJob':
      return seen.answer.kind === 'ok' && isTerminal(seen.answer.state) ? [seen.args[0].jobId] : [];
    case 'finishCancel':
      return seen.answer.kind === 'cancelled' ? [seen.args[0].jobId] : [];
    case 'expireTtl':
      return seen.answer.kind === 'ok' ? seen.answer.value.map(({ jobId }) => jobId) : [];
    default:
      return [];
  }
}
