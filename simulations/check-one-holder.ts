import { isTerminal } from '#protocol/job.ts';
import { machineKey } from '#protocol/names.ts';
import { compareTokens, type FencingToken, zeroToken } from '#protocol/token.ts';
import { committedFloor } from './check-tokens.ts';
import { type Checker, Violation } from './observation.ts';

const name = 'I3: one holder';

interface Holding {
  token: FencingToken;
  holder: string;
}

/**
 * A job is handed out again only after Records have shut out the holder before: by a floor above its
 * token, or by an end of the job. A lost Broker may not know its leases; then the floor alone decides
 * who may write, and claims made before the loss bind nobody here.
 */
export function oneHolder(): Checker {
  const holding = new Map<string, Holding>();
  const floors = new Map<string, FencingToken>();
  const ended = (jobId: string) => holding.delete(jobId);
  return {
    name,
    observe(seen) {
      if (seen.kind === 'brokerLost') holding.clear();
      const floor = committedFloor(seen);
      if (floor) floors.set(floor.jobId, floor.floor);
      if (seen.kind === 'records') {
        if (seen.method === 'completeJob' && seen.answer.kind !== 'staleLease') ended(seen.args[0].jobId);
        if (seen.method === 'finishCancel' && seen.answer.kind !== 'unknown') ended(seen.args[0].jobId);
        if (seen.method === 'exitJob' && seen.answer.kind === 'ok' && isTerminal(seen.answer.state))
          ended(seen.args[0].jobId);
        if (seen.method === 'expireTtl' && seen.answer.kind === 'ok')
          for (const row of seen.answer.value) ended(row.jobId);
        return;
      }
      if (seen.kind !== 'broker' || seen.method !== 'claim' || seen.answer.kind !== 'leased') return;
      const { jobId, token } = seen.answer.lease;
      const holder = machineKey(seen.args[0]);
      const before = holding.get(jobId);
      if (
        before &&
        before.token !== token &&
        compareTokens(floors.get(jobId) ?? zeroToken, before.token) <= 0
      ) {
        throw new Violation(name, {
          jobId,
          detail: `${jobId} went to ${holder} with ${token} while ${before.holder} holds it with ${before.token} and Records do not shut it out`,
        });
      }
      if (before && before.token === token && before.holder !== holder) {
        throw new Violation(name, {
          jobId,
          detail: `${before.holder} and ${holder} hold ${jobId} with one token ${token}`,
        });
      }
      holding.set(jobId, { token, holder });
    },
  };
}
