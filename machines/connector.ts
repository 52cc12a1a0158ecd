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
  /** A run began, or its work came to an end. */
  | { type: 'connector.began'; run: string }
  | { type: 'connector.ended'; run: string }
  /** A run that was told to stop is still at work past its limit: only the end of the service ends it. */
  | { type: 'connector.stuck'; run: string }
  /** An operator's word: leave quarantine. */
  | { type: 'connector.reset' }
  /** The desk of the runs is new and knows of nothing. */
  | { type: 'roll.call' };

interface Context extends ConnectorInput {
  failedProbes: number;
  restarts: number;
  /** Names of the runs that the service works on. */
  runs: string[];
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
    unloaded: ({ context }) => context.runs.length === 0,
    loaded: ({ context }) => context.runs.length > 0,
  },
  delays: {
    probeEveryMs: ({ context }) => context.settings.probeEveryMs,
    stableMs: ({ context }) => context.settings.stableMs,
    restartMs: ({ context }) =>
      retryDelayMs(Math.max(1, context.restarts), context.settings.restart, context.rng),
  },
});

const announce = (type: 'service.up' | 'service.down' | 'service.ended') => ({
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
/** A run is named once, however often it says that it is at work. */
const hold = base.assign({
  runs: ({ context, event }) => [...new Set([...context.runs, (event as { run: string }).run])],
});
const holdStuck = [
  hold,
  base.assign({
    problem: ({ event }) => `${(event as { run: string }).run} did not stop when it was told to`,
  }),
];
/** Whatever it worked on has ended with it. */
const ended = [base.assign({ runs: [] }), announce('service.ended')];
const blame = {
  type: 'blame' as const,
  params: ({ event }: { event: { error: unknown } }) => ({ error: event.error }),
};

/**
 * The service behind one group of slots. `starting` and `warming` are left by its first good probe;
 * `up` by probes that fail in a row, by a run that does not stop, and by a new desk that cannot know
 * what it works on; `unhealthy` stops what is left of it; `backoff` by time, to be stopped again as long
 * as it clings to runs; `quarantined`, after too many restarts, only by an operator. The machine works
 * on without it.
 */
export const connectorChart = base.createMachine({
  id: 'connector',
  context: ({ input }) => ({ ...input, failedProbes: 0, restarts: 0, runs: [], problem: null }),
  on: {
    'connector.began': { actions: hold },
    'connector.ended': {
      actions: assign({ runs: ({ context, event }) => context.runs.filter((run) => run !== event.run) }),
    },
    'connector.stuck': { target: '.unhealthy', actions: holdStuck },
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
      on: {
        'roll.call': [
          {
            guard: 'loaded',
            target: 'unhealthy',
            actions: assign({ problem: 'it may work on runs that nobody waits for' }),
          },
          { actions: announce('service.up') },
        ],
      },
      after: { stableMs: { actions: assign({ restarts: 0 }) } },
      states: {
        load: {
          initial: 'ready',
          states: {
            ready: { always: { guard: 'loaded', target: 'busy' } },
            busy: { always: { guard: 'unloaded', target: 'ready' } },
          },
        },
        health: {
          initial: 'trusted',
          states: {
            trusted: { after: { probeEveryMs: 'probing' } },
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
        onDone: [
          { guard: 'exhausted', target: 'quarantined', actions: ended },
          { target: 'backoff', actions: ended },
        ],
        onError: [{ guard: 'exhausted', target: 'quarantined' }, { target: 'backoff' }],
      },
      // The stop under way ends that run, too.
      on: { 'connector.stuck': { actions: holdStuck } },
    },
    backoff: {
      entry: assign({ restarts: ({ context }) => context.restarts + 1 }),
      after: { restartMs: [{ guard: 'loaded', target: 'unhealthy' }, { target: 'starting' }] },
    },
    quarantined: {
      entry: report('machine.degraded'),
      on: {
        'connector.reset': [
          { guard: 'loaded', target: 'unhealthy', actions: assign({ restarts: 0 }) },
          { target: 'starting', actions: assign({ restarts: 0 }) },
        ],
      },
    },
  },
  options: chartOptions,
});
