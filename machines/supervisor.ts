import { assign, setup } from 'xstate';
import type { GpuDevice } from '#protocol/gpus.ts';
import { chartOptions } from './chart-options.ts';
import type { LinkStateEvent } from './link.ts';
import { type DeadLetterEvent, deadLetterBox, safeSend } from './safe-send.ts';
import { type SuperviseInput, type SuperviseOutput, superviseChart } from './supervise.ts';
import { unprovided, unprovidedCallback } from './unprovided.ts';

export interface BootResult {
  devices: GpuDevice[];
}

export interface SupervisorSettings {
  /** For leases to be given back once the deadline of a drain has passed, ms. */
  releaseMs: number;
  /** For the last frames and the farewell, ms. */
  leaveMs: number;
}

export interface SupervisorInput {
  settings: SupervisorSettings;
  /** Everything that runs below the root, for the cards that were found. Pure. */
  plan: (boot: BootResult) => SuperviseInput;
}

/** How a machine's process ends. */
export const EXIT_CODES = { drained: 0, failed: 1, superseded: 3 } as const;

export type SupervisorEvent =
  | LinkStateEvent
  | { type: 'machine.drain'; deadlineMs: number; reason: string }
  /** Ends at once: leases are left to the hub. */
  | { type: 'machine.stop'; reason: string }
  | { type: 'machine.superseded' }
  | { type: 'machine.degraded'; reason: string; detail: string }
  | { type: 'machine.recovered'; reason: string; detail: string }
  | { type: 'child.ended'; child: string; detail: string; failed: boolean; again: boolean }
  | { type: 'runs.count'; count: number };

interface Context extends SupervisorInput {
  boot: BootResult | null;
  /** What makes the machine degraded: reason to detail. */
  problems: Record<string, string>;
  runs: number;
  restarts: number;
  linked: boolean;
  drainMs: number;
  /** Why it ends, and with which code. */
  end: { code: number; reason: string } | null;
}

const base = setup({
  types: {
    context: {} as Context,
    input: {} as SupervisorInput,
    output: {} as { code: number; reason: string },
    events: {} as SupervisorEvent,
  },
  actors: {
    boot: unprovided<BootResult, undefined>(),
    tree: superviseChart,
    leave: unprovided<void, { reason: string; deadlineMs: number }>(),
    shutDown: unprovided<void, undefined>(),
    deadLetters: unprovidedCallback<DeadLetterEvent, undefined>(),
  },
  actions: { tell: safeSend },
  guards: {
    troubled: ({ context }) => Object.keys(context.problems).length > 0,
    untroubled: ({ context }) => Object.keys(context.problems).length === 0,
    idle: ({ context }) => context.runs === 0,
  },
  delays: {
    drainMs: ({ context }) => context.drainMs,
    releaseMs: ({ context }) => context.settings.releaseMs,
  },
});

const detailOf = (error: unknown) => (error instanceof Error ? error.message : String(error));
const endWith = (code: number, reason: string) => base.assign({ end: { code, reason } });
/** Why a tree that ended by itself takes the machine with it. */
function treeEnd(output: SuperviseOutput): { code: number; reason: string } {
  const reason =
    output.kind === 'escalated' ? `${output.child} failed too often: ${output.detail}` : output.kind;
  return { code: EXIT_CODES.failed, reason };
}
const without = (problems: Record<string, string>, reason: string) =>
  Object.fromEntries(Object.entries(problems).filter(([name]) => name !== reason));
const incident = (kind: string) => ({
  type: 'tell' as const,
  params: ({ event }: { event: SupervisorEvent }) => {
    const {
      child = null,
      reason = null,
      detail = '',
    } = event as { child?: string; reason?: string; detail?: string };
    return {
      to: 'reporter',
      event: { type: 'incident', kind, path: child ?? reason ?? '', detail, jobId: null },
    };
  },
});

/**
 * The root of a machine: booting → enrolling → ready ⇄ degraded → draining → stopped. `booting` finds
 * the cards; `working` keeps everything else alive below `tree`; `draining` claims nothing, lets runs
 * end until the deadline, gives the rest back and says goodbye; `shutting` stops the services. Left for
 * good by a drain, a newer incarnation, or a tree that gave up.
 */
export const supervisorChart = base.createMachine({
  id: 'machine',
  context: ({ input }) => ({
    ...input,
    boot: null,
    problems: {},
    runs: 0,
    restarts: 0,
    linked: false,
    drainMs: 0,
    end: null,
  }),
  invoke: { id: deadLetterBox, systemId: deadLetterBox, src: 'deadLetters', onError: {} },
  initial: 'booting',
  output: ({ context }) => context.end ?? { code: EXIT_CODES.failed, reason: 'ended without a reason' },
  on: {
    'child.ended': {
      actions: [
        assign({ restarts: ({ context, event }) => context.restarts + (event.again ? 1 : 0) }),
        incident('actor.ended'),
      ],
    },
    'runs.count': { actions: assign({ runs: ({ event }) => event.count }) },
    'link.online': { actions: assign({ linked: true }) },
    'link.offline': { actions: assign({ linked: false }) },
    'machine.degraded': {
      actions: [
        assign({ problems: ({ context, event }) => ({ ...context.problems, [event.reason]: event.detail }) }),
        incident('machine.degraded'),
      ],
    },
    'machine.recovered': {
      actions: assign({ problems: ({ context, event }) => without(context.problems, event.reason) }),
    },
    'machine.superseded': {
      target: '.shutting',
      actions: endWith(EXIT_CODES.superseded, 'a newer incarnation of this machine lives'),
    },
    'machine.stop': {
      target: '.shutting',
      actions: assign({ end: ({ event }) => ({ code: EXIT_CODES.drained, reason: event.reason }) }),
    },
    'machine.drain': {
      target: '.shutting',
      actions: assign({ end: ({ event }) => ({ code: EXIT_CODES.drained, reason: event.reason }) }),
    },
  },
  states: {
    booting: {
      invoke: {
        id: 'boot',
        src: 'boot',
        onDone: { target: 'working', actions: assign({ boot: ({ event }) => event.output }) },
        onError: {
          target: 'shutting',
          actions: assign({
            end: ({ event }) => ({ code: EXIT_CODES.failed, reason: detailOf(event.error) }),
          }),
        },
      },
    },
    working: {
      invoke: {
        id: 'tree',
        systemId: 'tree',
        src: 'tree',
        input: ({ context }) => context.plan(context.boot as BootResult),
        onDone: {
          target: 'shutting',
          actions: assign({ end: ({ event }) => treeEnd(event.output as SuperviseOutput) }),
        },
        onError: {
          target: 'shutting',
          actions: assign({
            end: ({ event }) => ({ code: EXIT_CODES.failed, reason: detailOf(event.error) }),
          }),
        },
      },
      initial: 'enrolling',
      on: {
        'machine.drain': {
          target: '.draining',
          actions: assign({
            drainMs: ({ event }) => event.deadlineMs,
            end: ({ event }) => ({ code: EXIT_CODES.drained, reason: event.reason }),
          }),
        },
      },
      states: {
        enrolling: { on: { 'link.online': { target: 'ready', actions: assign({ linked: true }) } } },
        ready: { always: { guard: 'troubled', target: 'degraded' } },
        degraded: { always: { guard: 'untroubled', target: 'ready' } },
        draining: {
          entry: [
            { type: 'tell', params: { to: 'claimer', event: { type: 'claim.drain' } } },
            { type: 'tell', params: { to: 'runs', event: { type: 'runs.drain' } } },
          ],
          on: {
            // Only an earlier end counts: whoever is in a hurry says so again.
            'machine.drain': {
              guard: ({ context, event }) => event.deadlineMs < context.drainMs,
              target: '.finishing',
              actions: assign({ drainMs: ({ event }) => event.deadlineMs }),
            },
          },
          initial: 'finishing',
          states: {
            finishing: { always: { guard: 'idle', target: 'leaving' }, after: { drainMs: 'releasing' } },
            releasing: {
              entry: {
                type: 'tell',
                params: ({ context }) => ({
                  to: 'runs',
                  event: { type: 'runs.releaseAll', reason: context.end?.reason ?? 'drain' },
                }),
              },
              always: { guard: 'idle', target: 'leaving' },
              after: { releaseMs: 'leaving' },
            },
            leaving: {
              invoke: {
                id: 'leave',
                src: 'leave',
                input: ({ context }) => ({
                  reason: context.end?.reason ?? 'drain',
                  deadlineMs: context.settings.leaveMs,
                }),
                onDone: '#machine.shutting',
                onError: '#machine.shutting',
              },
            },
          },
        },
      },
    },
    shutting: {
      invoke: { id: 'shutDown', src: 'shutDown', onDone: 'stopped', onError: 'stopped' },
      on: { 'machine.drain': {}, 'machine.stop': {}, 'machine.superseded': {} },
    },
    stopped: { type: 'final' },
  },
  options: chartOptions,
});
