import { fromPromise } from 'xstate';
import type { BootResult } from '#machines/supervisor.ts';
import type { Connector } from '#protocol/connector.ts';
import type { Disk } from '#protocol/disk.ts';
import { type Clock, type Log, sleep } from '#protocol/env.ts';
import { toEmpError } from '#protocol/errors.ts';
import type { Gpus } from '#protocol/gpus.ts';
import { withDeadline } from './deadline.ts';
import type { LinkClient } from './link-client.ts';

/** Effects of the root: what must be there before anything runs, the farewell, and the end of services. */
export function supervisorActors(options: {
  clock: Clock;
  log: Log;
  disk: Disk;
  gpus: Gpus;
  link: Pick<LinkClient, 'request'>;
  connectors: ReadonlyMap<string, Connector>;
  runsFolder: string;
  /** The reporter gathers for this long: a farewell waits for its last news, ms. */
  gatherMs: number;
  bootMs: number;
  stopMs: number;
}) {
  const { clock, log, disk, gpus, link, connectors } = options;
  return {
    boot: fromPromise<BootResult, undefined>(({ signal }) =>
      withDeadline(
        clock,
        { limitMs: options.bootMs, what: 'the start of the machine', signal },
        async (limited) => {
          // What runs of an earlier process left: their leases are gone, and so is their use.
          await disk.remove(options.runsFolder);
          await disk.makeFolder(options.runsFolder);
          return { devices: await gpus.list(limited) };
        },
      ),
    ),
    leave: fromPromise<void, { reason: string; deadlineMs: number }>(async ({ input, signal }) => {
      await sleep(clock, 2 * options.gatherMs, signal);
      await link.request(
        'leave',
        { reason: input.reason.slice(0, 200) },
        { deadlineMs: input.deadlineMs, signal },
      );
    }),
    shutDown: fromPromise<void, undefined>(async () => {
      const stops = [...connectors].map(([service, connector]) =>
        withDeadline(clock, { limitMs: options.stopMs, what: `the stop of ${service}` }, () =>
          connector.stop(),
        ).catch((error: unknown) =>
          log.warn('connector.stop_failed', { service, detail: toEmpError(error).message }),
        ),
      );
      await Promise.all(stops);
    }),
  };
}
