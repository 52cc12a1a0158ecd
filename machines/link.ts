import { assign, setup } from 'xstate';
import { type RetryDelays, retryDelayMs } from '#machines/policy/backoff-restart.ts';
import { jobErrorOf } from '#machines/policy/job-error.ts';
import type { Rng } from '#protocol/env.ts';
import type { ErrorCode } from '#protocol/errors.ts';
import type { HubNotice, HubNoticeType, LinkAnswer } from '#protocol/link.ts';
import { chartOptions } from './chart-options.ts';
import { safeSend } from './safe-send.ts';
import { unprovided, unprovidedCallback } from './unprovided.ts';

/** What a hub told at the welcome. The machine token stays with the effect: no secret enters a chart. */
export type Welcome = Omit<Extract<LinkAnswer<'hello'>, { kind: 'welcome' }>, 'machineToken'>;

export type HelloResult =
  | { kind: 'welcome'; welcome: Welcome; sentAtMs: number; answeredAtMs: number }
  | { kind: 'superseded' };

/** A one-way frame of the hub, decoded. */
export type LinkNotice = { [T in HubNoticeType]: { notice: T; body: HubNotice<T> } }[HubNoticeType];

/** Told to every actor that needs the hub, at each (re)connection and at its end. */
export type LinkStateEvent =
  | {
      type: 'link.online';
      welcome: Welcome /** Age of the hello when it was answered, ms. */;
      helloMs: number;
    }
  | { type: 'link.offline' };

export interface LinkSettings {
  reconnect: RetryDelays;
  /** From dial to open, and for the answer to hello, ms. */
  dialMs: number;
  /** Online for this long: the next reconnect begins with the shortest wait again, ms. */
  stableMs: number;
}

export interface LinkInput {
  /** Hubs in order; the next one is tried after each failure. */
  hubs: string[];
  settings: LinkSettings;
  rng: Rng;
  /** Names of the actors that are told of the link's state. */
  listeners: string[];
}

type LinkEvent =
  | { type: 'link.opened' }
  | { type: 'link.closed'; code: number; reason: string }
  | { type: 'link.notice'; notice: LinkNotice }
  /** The hub is stopping, or another actor saw that the link is useless. */
  | { type: 'link.renew' };

/** A newer incarnation of this machine is linked: coming back would only take its place away. */
export const supersededCloseCode = 4_409;
/** Failures in a row after which the link is a problem of the machine, not a passing cut. */
const complaintAfter = 3;

const hubTroubles: readonly ErrorCode[] = [
  'LINK_CLOSED',
  'TIMEOUT',
  'INBOX_FULL',
  'RECORDS_UNAVAILABLE',
  'BROKER_UNAVAILABLE',
  'DRAINING',
];

/** Whether a request failed because no hub could answer it: nobody's fault, and to be asked again. */
export function isHubTrouble(error: unknown): boolean {
  return hubTroubles.includes(jobErrorOf(error, 'INTERNAL').code);
}

interface Context extends LinkInput {
  hub: number;
  /** Failures since the link was last stable. */
  failures: number;
  welcome: Welcome | null;
  helloMs: number;
  lastProblem: string | null;
}

const base = setup({
  types: { context: {} as Context, input: {} as LinkInput, events: {} as LinkEvent },
  actors: {
    connection: unprovidedCallback<{ type: 'none' }, { url: string }>(),
    hello: unprovided<HelloResult, { deadlineMs: number }>(),
  },
  actions: {
    tell: safeSend,
    complain: ({ context, system, self }) => {
      if (context.failures < complaintAfter) return;
      const detail = `no hub takes this machine: ${context.lastProblem ?? 'no answer'}`;
      safeSend(
        { system, self },
        { to: 'supervisor', event: { type: 'machine.degraded', reason: 'link', detail } },
      );
    },
    tellAll: ({ context, system, self }, { event }: { event: LinkStateEvent }) => {
      for (const to of context.listeners) safeSend({ system, self }, { to, event });
    },
  },
  delays: {
    dialMs: ({ context }) => context.settings.dialMs,
    stableMs: ({ context }) => context.settings.stableMs,
    reconnectMs: ({ context }) =>
      retryDelayMs(Math.max(1, context.failures), context.settings.reconnect, context.rng),
  },
});

const failed = base.assign({
  failures: ({ context }) => context.failures + 1,
  hub: ({ context }) => (context.hub + 1) % context.hubs.length,
});

/**
 * The one outbound link to a hub. `linked` holds the socket as long as it is tried or used and is left
 * by its end, by silence at the beginning, or by a hub that stops; `backoff` by time; `superseded` by
 * nothing: a newer incarnation of this machine lives.
 */
export const linkChart = base.createMachine({
  id: 'link',
  context: ({ input }) => ({ ...input, hub: 0, failures: 0, welcome: null, helloMs: 0, lastProblem: null }),
  initial: 'linked',
  states: {
    linked: {
      invoke: {
        id: 'connection',
        src: 'connection',
        input: ({ context }) => ({ url: context.hubs[context.hub] as string }),
        onError: {
          target: 'backoff',
          actions: [failed, assign({ lastProblem: ({ event }) => String(event.error) })],
        },
      },
      on: {
        'link.closed': [
          { guard: ({ event }) => event.code === supersededCloseCode, target: 'superseded' },
          {
            target: 'backoff',
            actions: [
              failed,
              assign({ lastProblem: ({ event }) => `closed with ${event.code}: ${event.reason}` }),
            ],
          },
        ],
        'link.renew': { target: 'backoff', actions: [failed, assign({ failures: 1 })] },
        // Also while greeting: a wake may overtake the turn in which the welcome is understood.
        'link.notice': {
          actions: {
            type: 'tell',
            params: ({ event }) => ({ to: 'inbox', event: { type: 'notice', ...event.notice } }),
          },
        },
      },
      initial: 'dialing',
      states: {
        dialing: {
          on: { 'link.opened': 'greeting' },
          after: {
            dialMs: {
              target: '#link.backoff',
              actions: [failed, assign({ lastProblem: 'the hub did not answer the dial in time' })],
            },
          },
        },
        greeting: {
          invoke: {
            id: 'hello',
            src: 'hello',
            input: ({ context }) => ({ deadlineMs: context.settings.dialMs }),
            onDone: [
              { guard: ({ event }) => event.output.kind === 'superseded', target: '#link.superseded' },
              {
                target: 'online',
                actions: assign(({ event }) => {
                  const output = event.output as Extract<HelloResult, { kind: 'welcome' }>;
                  return {
                    welcome: output.welcome,
                    helloMs: output.answeredAtMs - output.sentAtMs,
                    lastProblem: null,
                  };
                }),
              },
            ],
            onError: {
              target: '#link.backoff',
              actions: [failed, assign({ lastProblem: ({ event }) => `hello: ${String(event.error)}` })],
            },
          },
        },
        online: {
          entry: [
            {
              type: 'tell',
              params: {
                to: 'supervisor',
                event: { type: 'machine.recovered', reason: 'link', detail: 'linked to a hub' },
              },
            },
            {
              type: 'tellAll',
              params: ({ context }) => ({
                event: { type: 'link.online', welcome: context.welcome as Welcome, helloMs: context.helloMs },
              }),
            },
          ],
          exit: { type: 'tellAll', params: { event: { type: 'link.offline' } } },
          after: { stableMs: { actions: assign({ failures: 0 }) } },
        },
      },
    },
    backoff: { entry: 'complain', after: { reconnectMs: 'linked' } },
    superseded: {
      entry: { type: 'tell', params: { to: 'supervisor', event: { type: 'machine.superseded' } } },
    },
  },
  options: chartOptions,
});
