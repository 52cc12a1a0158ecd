import type { Broker } from '#protocol/broker.ts';
import type { DayWatch } from './day-watch.ts';

/** The Broker of a day's hub: tells who got what, and what has ended, after each step that says so. */
export function observedBroker(broker: Broker, watch: DayWatch): Broker {
  return {
    ...broker,
    async claim(request) {
      const answer = await broker.claim(request);
      if (answer.kind === 'leased')
        watch.claimed({ jobId: answer.lease.jobId, machineId: request.machineId });
      return answer;
    },
    async complete(request) {
      const answer = await broker.complete(request);
      if (answer.kind === 'removed') watch.jobEnded({ jobId: request.jobId, state: 'succeeded' });
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
