import { assign, setup } from 'xstate';
import type { SingletonLease } from '#protocol/records.ts';
import { chartOptions } from './chart-options.ts';
import { unprovided, unprovidedCallback } from './unprovided.ts';

export interface SingletonInput {
  name: string;
  /** How long the role outlives a silent holder, ms, by the store's clock. */
  ttlMs: number;
}

/** What the store answered to take or renew. */
export type HoldAnswer =
  /** `restMs`: how long this holder may act on it without another word, counted from before it asked. */
  | { kind: 'held'; lease: SingletonLease; restMs: number }
  /** Somebody else holds it. */
  | { kind: 'refused' }
  /** The store did not answer; what was held before still has `restMs` (0 or less: it has ended). */
  | { kind: 'unanswered'; restMs: number };

export interface HoldQuestion {
  name: string;
  ttlMs: number;
  current: SingletonLease | null;
}

/**
 * `singleton.stale`: the store refused an effect under this lease. `singleton.freed`: who held the role
 * gave it back. `singleton.stop`: give the role back and end.
 */
export type SingletonEvent =
  | { type: 'singleton.stale' }
  | { type: 'singleton.freed' }
  | { type: 'singleton.stop' };

interface Context extends SingletonInput {
  lease: SingletonLease | null;
  restMs: number;
}

const base = setup({
  types: { context: {} as Context, input: {} as SingletonInput, events: {} as SingletonEvent },
  actors: {
    hold: unprovided<HoldAnswer, HoldQuestion>(),
    drop: unprovided<void, { lease: SingletonLease }>(),
    /** The role's work: begins with the lease, ends with the state. */
    work: unprovidedCallback<SingletonEvent, { lease: SingletonLease }>(),
  },
  delays: {
    retryMs: ({ context }) => context.ttlMs / 3,
    renewMs: ({ context }) => Math.min(context.ttlMs / 3, context.restMs / 2),
    /** From the start of a renewal to the end of what is held; its first part went by in `resting`. */
    endMs: ({ context }) => Math.max(0, context.restMs - Math.min(context.ttlMs / 3, context.restMs / 2)),
  },
});

/**
 * Less of a TTL than this is given up: a renewal waits half of what is left, and halves of an ever
 * smaller rest would hammer a store that refuses at once.
 */
const leastRestShare = 1 / 50;

const question = ({ context }: { context: Context }): HoldQuestion => ({
  name: context.name,
  ttlMs: context.ttlMs,
  current: context.lease,
});

const leaseOf = ({ context }: { context: Context }) => ({ lease: context.lease as SingletonLease });

/** What an answer changes: only `held` brings a lease. */
function kept(answer: HoldAnswer): Partial<Context> {
  return answer.kind === 'held' ? { lease: answer.lease, restMs: answer.restMs } : {};
}

const nothing = { lease: null, restMs: 0 };

/**
 * Holds one role among many hubs. `taking` asks for it; left by the answer. `waiting`: another hub
 * holds it, or the store is silent; left by time, or when its holder gives it back. `held`: this hub acts in the role; left when a
 * renewal is refused, when no renewal came in time, when an effect was refused as stale, or by stop.
 * `dropping` gives it back so that another hub need not wait for the time to pass.
 */
export const singletonChart = base.createMachine({
  id: 'singleton',
  context: ({ input }) => ({ ...input, lease: null, restMs: 0 }),
  initial: 'taking',
  states: {
    taking: {
      invoke: {
        id: 'take',
        src: 'hold',
        input: question,
        onDone: [
          {
            guard: ({ event }) => event.output.kind === 'held',
            target: 'held',
            actions: assign(({ event }) => kept(event.output)),
          },
          { target: 'waiting' },
        ],
        onError: 'waiting',
      },
      on: { 'singleton.stop': 'stopped' },
    },
    waiting: {
      after: { retryMs: 'taking' },
      on: { 'singleton.freed': 'taking', 'singleton.stop': 'stopped' },
    },
    held: {
      invoke: {
        id: 'work',
        src: 'work',
        input: leaseOf,
        onError: { target: 'waiting', actions: assign(nothing) },
      },
      on: {
        'singleton.stale': { target: 'waiting', actions: assign(nothing) },
        'singleton.stop': 'dropping',
      },
      initial: 'resting',
      states: {
        resting: { after: { renewMs: 'renewing' } },
        renewing: {
          invoke: {
            id: 'renew',
            src: 'hold',
            input: question,
            onDone: [
              {
                guard: ({ event }) => event.output.kind === 'held',
                target: 'resting',
                actions: assign(({ event }) => kept(event.output)),
              },
              {
                guard: ({ context, event }) =>
                  event.output.kind === 'unanswered' && event.output.restMs > context.ttlMs * leastRestShare,
                target: 'resting',
                actions: assign({
                  restMs: ({ event }) => (event.output.kind === 'unanswered' ? event.output.restMs : 0),
                }),
              },
              { target: '#singleton.waiting', actions: assign(nothing) },
            ],
            onError: { target: '#singleton.waiting', actions: assign(nothing) },
          },
          after: { endMs: { target: '#singleton.waiting', actions: assign(nothing) } },
        },
      },
    },
    dropping: {
      invoke: { id: 'drop', src: 'drop', input: leaseOf, onDone: 'stopped', onError: 'stopped' },
    },
    stopped: { type: 'final' },
  },
  options: chartOptions,
});
