import { fromCallback, fromPromise } from 'xstate';
import { noticeKey } from '#machines/command-inbox.ts';
import type { HelloResult, LinkNotice } from '#machines/link.ts';
import type { Clock } from '#protocol/env.ts';
import type { LinkBody } from '#protocol/link.ts';
import { BoundedInbox } from './bounded-inbox.ts';
import type { LinkClient } from './link-client.ts';

/** Most notices of a hub that wait for the actors of the machine; one per kind and job. */
const noticesLimit = 1_024;

/** Which incarnation this process speaks for; null until the first welcome. */
export interface Identity {
  incarnation: number | null;
}

/** Effects of the link's chart. `identity` outlives the actor: a restarted link is the same incarnation. */
export function linkActors(options: {
  clock: Clock;
  client: LinkClient;
  identity: Identity;
  hello: Omit<LinkBody<'hello'>, 'incarnation'>;
  onOverflow: (notice: LinkNotice) => void;
  /** Told how to ask for the number of notices that wait. */
  gauge: (name: string, depth: () => number) => void;
}) {
  const { clock, client, identity } = options;
  return {
    connection: fromCallback<{ type: 'none' }, { url: string }>(({ input, sendBack }) => {
      const inbox = new BoundedInbox<LinkNotice>({
        limit: noticesLimit,
        policy: 'coalesce',
        key: noticeKey,
        clock,
        deliver: (notice) => sendBack({ type: 'link.notice', notice }),
        onOverflow: options.onOverflow,
      });
      options.gauge('notices', () => inbox.depth);
      const hangUp = client.connect({
        url: input.url,
        opened: () => sendBack({ type: 'link.opened' }),
        closed: ({ code, reason }) => sendBack({ type: 'link.closed', code, reason }),
        notice: (notice) => inbox.push(notice),
      });
      return () => {
        inbox.close();
        hangUp();
      };
    }),
    hello: fromPromise<HelloResult, { deadlineMs: number }>(async ({ input, signal }) => {
      const sentAtMs = clock.monotonic();
      const answer = await client.request(
        'hello',
        { ...options.hello, incarnation: identity.incarnation },
        { deadlineMs: input.deadlineMs, signal },
      );
      if (answer.kind === 'superseded') return answer;
      const { machineToken, ...welcome } = answer;
      client.machineToken = machineToken;
      identity.incarnation = welcome.incarnation;
      return { kind: 'welcome', welcome, sentAtMs, answeredAtMs: clock.monotonic() };
    }),
  };
}
