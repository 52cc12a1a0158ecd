import type { Broker, ClaimAnswer, ClaimRequest, EndRequest, TurnsAnswer } from '#protocol/broker.ts';
import type { DayWatch } from './day-watch.ts';

/** The Broker of a day's hub: tells who got what, and what has ended, after each step that says so. */
export function observedBroker(broker: Broker, watch: DayWatch): Broker {
  const claimed = ({ machineId }: ClaimRequest, answer: ClaimAnswer | undefined) => {
    if (answer?.kind === 'leased') watch.claimed({ jobId: answer.lease.jobId, machineId });
  };
  const ended = ({ jobId }: EndRequest, answer: TurnsAnswer['completions'][number] | undefined) => {
    if (answer?.kind === 'removed') watch.jobEnded({ jobId, state: 'succeeded' });
  };
  return {
    ...broker,
    async claim(request) {
      const answer = await broker.claim(request);
      claimed(request, answer);
      return answer;
    },
    async complete(request) {
      const answer = await broker.complete(request);
      ended(request, answer);
      return answer;
    },
    async turns(request) {
      const answer = await broker.turns(request);
      for (const [at, each] of request.completions.entries()) ended(each, answer.completions[at]);
      for (const [at, each] of request.claims.entries()) claimed(each, answer.claims[at]);
      return answer;
    },
    async exit(request) {
      const answer = await broker.exit(request);
      const { jobId, state } = request;
      if (answer.kind === 'requeued') watch.runLost({ jobId });
      else if (state === 'failed' || state === 'dead' || state === 'cancelled')
        watch.jobEnded({ jobId, state });
      return answer;
    },
  };
}
