import { compareTokens, type FencingToken, maxToken, zeroToken } from '#protocol/token.ts';
import { type Checker, type Observation, Violation } from './observation.ts';

const name = 'I4: tokens rise';

/** What each step says about a job's fence floor in Records. */
export function committedFloor(seen: Observation): { jobId: string; floor: FencingToken } | null {
  if (seen.kind !== 'records') return null;
  if (seen.method === 'exitJob' && seen.answer.kind === 'ok')
    return { jobId: seen.args[0].jobId, floor: seen.answer.fenceFloor };
  if (seen.method === 'requeueJob' && seen.answer.kind === 'requeued')
    return { jobId: seen.args[0].jobId, floor: seen.answer.job.fenceFloor };
  if (seen.method === 'requestCancel' && seen.answer.kind === 'requested')
    return { jobId: seen.args[0].jobId, floor: seen.answer.fenceFloor };
  return null;
}

/**
 * Every new claim of a job carries a higher token than any claim before it, also across a loss of the
 * Broker, and the fence floor that Records answer never falls.
 */
export function tokensRise(): Checker {
  const highest = new Map<string, FencingToken>();
  const floors = new Map<string, FencingToken>();
  const granted = new Map<string, Set<FencingToken>>();
  const raise = (jobId: string, floor: FencingToken) => {
    const known = floors.get(jobId) ?? zeroToken;
    if (compareTokens(floor, known) < 0)
      throw new Violation(name, {
        jobId,
        detail: `the fence floor of ${jobId} fell from ${known} to ${floor}`,
      });
    floors.set(jobId, maxToken(floor, known));
  };
  return {
    name,
    observe(seen) {
      const floor = committedFloor(seen);
      if (floor) raise(floor.jobId, floor.floor);
      if (seen.kind !== 'broker' || seen.method !== 'claim' || seen.answer.kind !== 'leased') return;
      const { jobId, token } = seen.answer.lease;
      const tokens = granted.get(jobId) ?? new Set();
      granted.set(jobId, tokens);
      if (tokens.has(token)) return; // The same answer again, to a machine that did not get the first.
      const last = highest.get(jobId) ?? zeroToken;
      if (compareTokens(token, last) <= 0)
        throw new Violation(name, { jobId, detail: `${jobId} was claimed with ${token} after ${last}` });
      tokens.add(token);
      highest.set(jobId, token);
    },
    audit(view) {
      for (const job of view.jobs) raise(job.id, job.fenceFloor);
    },
  };
}
