import { fromPromise } from 'xstate';
import type { BeatResult, Holdings } from '#machines/lease.ts';
import type { Clock } from '#protocol/env.ts';
import type { MachineReport } from '#protocol/link.ts';
import type { ClaimNumbers } from './claim.ts';
import type { LinkClient } from './link-client.ts';

/** The effect of the lease keeper: a beat with its send time, from which the self-fence counts. */
export function leaseActors(options: {
  clock: Clock;
  link: Pick<LinkClient, 'request'>;
  numbers: ClaimNumbers;
  report: () => MachineReport;
}) {
  const { clock, link, numbers } = options;
  return {
    beat: fromPromise<BeatResult, Holdings & { deadlineMs: number }>(async ({ input, signal }) => {
      const { deadlineMs, ...holdings } = input;
      const sentAtMs = clock.monotonic();
      const body = {
        ...holdings,
        highestRequestId: numbers.highest,
        openRequestId: numbers.open?.requestId ?? null,
        report: options.report(),
      };
      const answer = await link.request('beat', body, { deadlineMs, signal });
      return { answer, sentAtMs, answeredAtMs: clock.monotonic() };
    }),
  };
}
