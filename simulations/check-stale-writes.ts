import { isTerminal } from '#protocol/job.ts';
import { compareTokens, type FencingToken, zeroToken } from '#protocol/token.ts';
import { committedFloor } from './check-tokens.ts';
import { type Checker, Violation } from './observation.ts';

const name = 'I3: no stale write';

/**
 * A completion is committed once per job, never below the fence floor, never over an end, and only
 * with a token that a claim has granted.
 */
export function noStaleWrite(): Checker {
  const floors = new Map<string, FencingToken>();
  const granted = new Map<string, Set<FencingToken>>();
  const ended = new Map<string, string>();
  const refuse = (jobId: string, detail: string): never => {
    throw new Violation(name, { jobId, detail });
  };
  const committed = (jobId: string, token: FencingToken) => {
    const floor = floors.get(jobId) ?? zeroToken;
    if (compareTokens(token, floor) < 0)
      refuse(jobId, `${jobId} was completed with ${token}, below its floor ${floor}`);
    if (ended.has(jobId))
      refuse(jobId, `${jobId} was completed with ${token} after it had ended: ${ended.get(jobId)}`);
    if (!granted.get(jobId)?.has(token))
      refuse(jobId, `${jobId} was completed with ${token}, which no claim granted`);
    ended.set(jobId, `succeeded with ${token}`);
  };
  return {
    name,
    observe(seen) {
      const floor = committedFloor(seen);
      if (floor) floors.set(floor.jobId, floor.floor);
      if (seen.kind === 'broker' && seen.method === 'claim' && seen.answer.kind === 'leased') {
        const { jobId, token } = seen.answer.lease;
        granted.set(jobId, (granted.get(jobId) ?? new Set()).add(token));
      }
      if (seen.kind !== 'records') return;
      if (seen.method === 'completeJob' && seen.answer.kind === 'committed')
        committed(seen.args[0].jobId, seen.args[0].token);
      if (
        seen.method === 'exitJob' &&
        seen.answer.kind === 'ok' &&
        seen.answer.applied &&
        isTerminal(seen.answer.state)
      ) {
        ended.set(seen.args[0].jobId, seen.answer.state);
      }
      if (seen.method === 'finishCancel' && seen.answer.kind === 'cancelled')
        ended.set(seen.args[0].jobId, 'cancelled');
      if (seen.method === 'expireTtl' && seen.answer.kind === 'ok')
        for (const row of seen.answer.value) ended.set(row.jobId, 'dead');
      if (seen.method === 'requeueJob' && seen.answer.kind === 'requeued') ended.delete(seen.args[0].jobId);
    },
  };
}
