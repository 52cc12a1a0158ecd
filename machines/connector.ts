import { assign, setup } from 'xstate';
import { type RetryDelays, retryDelayMs } from '#machines/policy/backoff-restart.ts';
import type { Rng } from '#protocol/env.ts';
import { chartOptions } from './chart-options.ts';
import { safeSend } from './safe-send.ts';
import { unprovided } from './unprovided.ts';

export interface ConnectorSettings {
  /** Limits for start and one probe, ms. */
  startMs: number;
  probeMs: number;
  /** Between two probes of a healthy service, ms. */
  probeEveryMs: number;
  /** Failed probes in a row after which the service is restarted. */
  probesLimit: number;
  restart: RetryDelays;
  /** Restarts in a row without a stable time in between after which it is left alone. */
  restartsLimit: number;
  /** Healthy for this long: earlier restarts are forgotten, ms. */
  stableMs: number;
}

export interface ConnectorInput {
  service: string;
  settings: ConnectorSettings;
  rng: Rng;
}

type ConnectorEvent =
  /** Somebody saw the service fail: probe now. */
  | { type: 'connector.suspect'; detail: string }
  /** A run began, or its work came to an end. */
  | { type: 'connector.began' }
  | { type: 'connector.ended' }
  /** An operator's word: leave quarantine. */
  | { type: 'connector.reset' }
  /** The desk of the runs is new and knows of nothing. */
  | { type: 'roll.call' };

interface Context extends ConnectorInput {
  failedProbes: number;
  restarts: number;
  runs: number;
  problem: string | null;
}

const base = setup({
  types: { context: {} as Context, input: {} as ConnectorInput, events: {} as ConnectorEvent },
  actors: {
    start: unprovided<void, { service: string; limitMs: number }>(),
    probe: unprovided<void, { service: string; limitMs: number }>(),
    stop: unprovided<void, { service: string }>(),
  },
  actions: {
    tell: safeSend,
    blame: assign((_, { error }: { error: unknown }) => ({
      problem: error instanceof Error ? error.message : String(error),
    })),
  },
  guards: {
    lastProbe: ({ context }) => context.failedProbes + 1 >= context.settings.probesLimit,
    exhausted: ({ context }) => context.restarts >= context.settings.restartsLimit,
    loaded: ({ context }) => context.runs > 0,
  },
  delays: {
    probeEveryMs: ({ context }) => context.settings.probeEveryMs,
    stableMs: ({ context }) => context.settings.stableMs,
    restartMs: ({ context }) =>
      retryDelayMs(Math.max(1, context.restarts), context.settings.restart, context.rng),
  },
});

const announce = (type: 'service.up' | 'service.down') => ({
  type: 'tell' as const,
  params: ({ context }: { context: Context }) => ({ to: 'runs', event: { type, service: context.service } }),
});
const report = (type: 'machine.degraded' | 'machine.recovered') => ({
  type: 'tell' as const,
  params: ({ context }: { context: Context }) => ({
    to: 'supervisor',
    event: { type, reason: `connector/${context.service}`, detail: context.problem ?? 'the service is up' },
  }),
});
const blame = {
  type: 'blame' as const,
  params: ({ event }: { event: { error: unknown } }) => ({ error: event.error }),
};

/**
 * The service behind one group of slots. `starting` and `warming` are left by its first good probe;
 * `up` by probes that fail in a row; `unhealthy` stops what is left of it; `backoff` by time;
 * `quarantined`, after too many restarts, only by an operator. The machine works on without it.
 */
export const connectorChart = base.createMachine({
  id: 'connector',
  context: ({ input }) => ({ ...input, failedProbes: 0, restarts: 0, runs: 0, problem: null }),
  on: {
    'connector.began': { actions: assign({ runs: ({ context }) => context.runs + 1 }) },
    'connector.ended': { actions: assign({ runs: ({ context }) => Math.max(0, context.runs - 1) }) },
    'connector.suspect': {},
    'connector.reset': {},
    'roll.call': {},
  },
  // A service whose actor was restarted is not offered before it has answered.
  entry: announce('service.down'),
  initial: 'starting',
  states: {
    starting: {
      invoke: {
        id: 'start',
        src: 'start',
        input: ({ context }) => ({ service: context.service, limitMs: context.settings.startMs }),
        onDone: 'warming',
        onError: { target: 'unhealthy', actions: blame },
      },
    },
    warming: {
      invoke: {
        id: 'warm',
        src: 'probe',
        input: ({ context }) => ({ service: context.service, limitMs: context.settings.startMs }),
        onDone: 'up',
        onError: { target: 'unhealthy', actions: blame },
      },
    },
    up: {
      entry: [
        assign({ failedProbes: 0, problem: null }),
        announce('service.up'),
        report('machine.recovered'),
      ],
      exit: announce('service.down'),
      type: 'parallel',
      on: { 'roll.call': { actions: announce('service.up') } },
      after: { stableMs: { actions: assign({ restarts: 0 }) } },
      states: {
        load: {
          initial: 'ready',
          states: {
            ready: { always: { guard: 'loaded', target: 'busy' } },
            busy: { always: { guard: ({ context }) => context.runs === 0, target: 'ready' } },
          },
        },
        health: {
          initial: 'trusted',
          states: {
            trusted: { after: { probeEveryMs: 'probing' }, on: { 'connector.suspect': 'probing' } },
            probing: {
              invoke: {
                id: 'probe',
                src: 'probe',
                input: ({ context }) => ({ service: context.service, limitMs: context.settings.probeMs }),
                onDone: { target: 'trusted', actions: assign({ failedProbes: 0 }) },
                onError: [
                  { guard: 'lastProbe', target: '#connector.unhealthy', actions: blame },
                  {
                    target: 'probing',
                    reenter: true,
                    actions: assign({ failedProbes: ({ context }) => context.failedProbes + 1 }),
                  },
                ],
              },
            },
          },
        },
      },
    },
    unhealthy: {
      entry: report('machine.degraded'),
      invoke: {
        id: 'stop',
        src: 'stop',
        input: ({ context }) => ({ service: context.service }),
        onDone: [{ guard: 'exhausted', target: 'quarantined' }, { target: 'backoff' }],
        onError: [{ guard: 'exhausted', target: 'quarantined' }, { target: 'backoff' }],
      },
    },
    backoff: {
      entry: assign({ restarts: ({ context }) => context.restarts + 1 }),
      after: { restartMs: 'starting' },
    },
    quarantined: {
      entry: report('machine.degraded'),
      on: { 'connector.reset': { target: 'starting', actions: assign({ restarts: 0 }) } },
    },
  },
  options: chartOptions,
});
