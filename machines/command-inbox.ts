import { setup } from 'xstate';
import { chartOptions } from './chart-options.ts';
import type { LinkNotice } from './link.ts';
import { safeSend } from './safe-send.ts';

type Notice = { type: 'notice' } & LinkNotice;

/** Whom a hub's notice is for, as the event that actor understands. */
export function routeNotice(notice: LinkNotice): {
  to: string;
  event: { type: string } & Record<string, unknown>;
} {
  switch (notice.notice) {
    case 'wake':
      return { to: 'claimer', event: { type: 'claim.wanted' } };
    case 'cordon':
      return { to: 'claimer', event: { type: 'claim.cordon', cordoned: notice.body.cordoned } };
    case 'cancel':
      return {
        to: 'runs',
        event: runEnd('cancel', notice.body),
      };
    case 'preempt':
      return {
        to: 'runs',
        event: runEnd('release', notice.body),
      };
    case 'drop':
      return {
        to: 'runs',
        event: { type: 'runs.drop', jobIds: [notice.body.jobId], reason: 'the hub ended its lease' },
      };
    case 'drain':
      return {
        to: 'supervisor',
        event: { type: 'machine.drain', deadlineMs: notice.body.deadlineMs, reason: notice.body.reason },
      };
    case 'superseded':
      return { to: 'supervisor', event: { type: 'machine.superseded' } };
    case 'closing':
      return { to: 'link', event: { type: 'link.renew' } };
  }
}

/** The end of a run as the hub wants it. */
function runEnd(kind: 'cancel' | 'release', { jobId, reason }: { jobId: string; reason: string }) {
  return { type: 'runs.end', jobId, cause: { kind, reason } };
}

/** Notices that say the same thing once more: the waiting one is replaced, not queued behind. */
export function noticeKey(notice: LinkNotice): string {
  return 'jobId' in notice.body ? `${notice.notice}/${notice.body.jobId}` : notice.notice;
}

/** The command inbox: hands each notice of the hub to the actor that it concerns. Never left. */
export const commandInboxChart = setup({
  types: { context: {} as { handled: number }, events: {} as Notice },
  actions: { tell: safeSend },
}).createMachine({
  id: 'inbox',
  context: { handled: 0 },
  initial: 'open',
  states: {
    open: { on: { notice: { actions: { type: 'tell', params: ({ event }) => routeNotice(event) } } } },
  },
  options: chartOptions,
});
