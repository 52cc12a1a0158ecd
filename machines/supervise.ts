import { type AnyActorLogic, type DoneActorEvent, type ErrorActorEvent, setup } from 'xstate';
import {
  failureWeight,
  type RestartType,
  type RetryDelays,
  restartSet,
  retryDelayMs,
  runsAgain,
  type Strategy,
} from '#machines/policy/backoff-restart.ts';
import type { Rng } from '#protocol/env.ts';
import { chartOptions } from './chart-options.ts';
import { safeSend } from './safe-send.ts';

export interface ChildSpec {
  /** Id below this supervisor, also the child's name in the actor system. Unique in the machine. */
  id: string;
  logic: AnyActorLogic;
  /** Made anew at each start if it is a function: what a restarted child must know may have moved on. */
  input?: unknown;
  restart: RestartType;
  /** Its end for good ends this supervisor, too: a machine whose last card is gone must drain. */
  significant?: boolean;
  /** A failure within this time of the start is one of initialisation and counts double, ms. */
  initMs?: number;
}

export interface SuperviseInput {
  /** In start order; stopped in reverse. At most 99: XState is quadratic in siblings. */
  children: ChildSpec[];
  strategy: Strategy;
  /** More weighted failures than this within `periodMs`: give up, the parent decides. */
  intensity: number;
  periodMs: number;
  backoff: RetryDelays;
  rng: Rng;
}

/** How a supervisor ends; its parent sees it as the child's output. */
export type SuperviseOutput =
  | { kind: 'stopped' }
  | { kind: 'escalated'; child: string; detail: string }
  | { kind: 'significantEnded'; child: string };

type SuperviseEvent =
  | ErrorActorEvent
  | DoneActorEvent
  | { type: 'supervise.restart'; children: string[] }
  | { type: 'supervise.up'; child: string }
  | { type: 'supervise.stable'; child: string }
  | { type: 'supervise.forgive'; weight: number }
  | { type: 'supervise.stop' };

interface Context extends SuperviseInput {
  /** Children that are alive. */
  alive: string[];
  /** Those among them that outlived their initialisation. */
  up: string[];
  /** Failures in a row per child, until it has been stable for a period. */
  tries: Record<string, number>;
  /** Weighted failures in the window: each is forgiven after `periodMs` by a timer of its own. */
  failures: number;
  restarts: number;
  /** Ends of children so far: makes the names of timers unique. */
  endings: number;
  ended: SuperviseOutput | null;
}

export const siblingsLimit = 99;

const detailOf = (error: unknown) => (error instanceof Error ? error.message : String(error));

type Ended = ErrorActorEvent | DoneActorEvent;

/** A failure is an error, or the output of a supervisor below that gave up. */
function failureOf(event: Ended): string | null {
  if ('error' in event) return detailOf(event.error);
  const output = event.output as SuperviseOutput | undefined;
  return output?.kind === 'escalated' ? `${output.child}: ${output.detail}` : null;
}

const endOf = (event: Ended) => (failureOf(event) === null ? 'finished' : 'failed');

function weightOf(context: Context, actorId: string): number {
  return failureWeight(context.up.includes(actorId) ? 'run' : 'init');
}

function specOf(context: Context, id: string): ChildSpec | undefined {
  return context.children.find((child) => child.id === id);
}

const without = (ids: string[], gone: readonly string[]) => ids.filter((id) => !gone.includes(id));

const base = setup({
  types: {
    context: {} as Context,
    input: {} as SuperviseInput,
    output: {} as SuperviseOutput,
    events: {} as SuperviseEvent,
  },
  actions: { tell: safeSend },
  guards: {
    escalates: ({ context, event }) => {
      const ended = event as Ended;
      const spec = specOf(context, ended.actorId);
      if (spec === undefined || spec.restart === 'temporary' || failureOf(ended) === null) return false;
      return context.failures + weightOf(context, ended.actorId) > context.intensity;
    },
    endsAll: ({ context, event }) => {
      const ended = event as Ended;
      const spec = specOf(context, ended.actorId);
      return spec?.significant === true && !runsAgain(spec.restart, endOf(ended));
    },
    known: ({ context, event }) => specOf(context, (event as Ended).actorId) !== undefined,
  },
});

type Enqueue = Parameters<Parameters<typeof base.enqueueActions>[0]>[0]['enqueue'];

function startChildren(enqueue: Enqueue, context: Context, ids: readonly string[]): void {
  const specs = context.children.filter((spec) => ids.includes(spec.id) && !context.alive.includes(spec.id));
  const started = specs.map((spec) => spec.id);
  enqueue.assign({ alive: [...context.alive, ...started], up: without(context.up, started) });
  const spawnChild = enqueue.spawnChild as (
    logic: AnyActorLogic,
    options: { id: string; systemId: string; input: unknown },
  ) => void;
  for (const spec of specs) {
    spawnChild(spec.logic, {
      id: spec.id,
      systemId: spec.id,
      input: typeof spec.input === 'function' ? spec.input() : spec.input,
    });
    enqueue.raise({ type: 'supervise.up', child: spec.id }, { id: `up/${spec.id}`, delay: spec.initMs ?? 0 });
    enqueue.raise(
      { type: 'supervise.stable', child: spec.id },
      { id: `stable/${spec.id}`, delay: context.periodMs },
    );
  }
}

function stopChildren(enqueue: Enqueue, context: Context, ids: readonly string[]): void {
  for (const spec of [...context.children].reverse()) {
    if (!ids.includes(spec.id)) continue;
    enqueue.cancel(`up/${spec.id}`);
    enqueue.cancel(`stable/${spec.id}`);
    enqueue.stopChild(spec.id);
  }
  enqueue.assign({ alive: without(context.alive, ids), up: without(context.up, ids) });
}

const startAll = base.enqueueActions(({ enqueue, context }) => {
  startChildren(
    enqueue,
    context,
    context.children.map((spec) => spec.id),
  );
});

const stopAll = base.enqueueActions(({ enqueue, context }) => {
  stopChildren(enqueue, context, context.alive);
});

const restart = base.enqueueActions(({ enqueue, context, event }) => {
  if (event.type === 'supervise.restart') startChildren(enqueue, context, event.children);
});

/** Stops those who go with the child that ended, and plans their start. */
const recover = base.enqueueActions(({ enqueue, context, event }) => {
  const ended = event as Ended;
  const child = ended.actorId;
  const failure = failureOf(ended);
  const again = runsAgain(specOf(context, child)?.restart ?? 'temporary', endOf(ended));
  const ids = context.children.map((spec) => spec.id);
  const set = again ? restartSet(context.strategy, ids, child) : [child];
  const tries = failure === null ? 0 : (context.tries[child] ?? 0) + 1;
  const weight = failure === null ? 0 : weightOf(context, child);
  const delay = failure === null ? 0 : retryDelayMs(tries, context.backoff, context.rng);
  stopChildren(enqueue, context, set);
  enqueue.assign({
    failures: context.failures + weight,
    restarts: context.restarts + (again ? 1 : 0),
    endings: context.endings + 1,
    tries: { ...context.tries, [child]: tries },
  });
  if (weight > 0)
    enqueue.raise(
      { type: 'supervise.forgive', weight },
      { id: `forgive/${context.endings}`, delay: context.periodMs },
    );
  if (again) enqueue.raise({ type: 'supervise.restart', children: set }, { id: `restart/${child}`, delay });
  enqueue({
    type: 'tell',
    params: {
      to: 'supervisor',
      event: { type: 'child.ended', child, detail: failure ?? 'finished', failed: failure !== null, again },
    },
  });
});

const giveUp = base.assign({
  ended: ({ event }) => {
    const ended = event as Ended;
    return { kind: 'escalated' as const, child: ended.actorId, detail: failureOf(ended) ?? '' };
  },
});

const endWithChild = base.assign({
  ended: ({ event }) => ({ kind: 'significantEnded' as const, child: (event as Ended).actorId }),
});

/**
 * `supervise`: starts children in order and keeps them running. A child that fails is stopped (so that
 * it leaves no entry behind), and started again after a jittered, growing wait; the strategy decides
 * who goes with it. Left by `supervise.stop`, by more failures than `intensity` in `periodMs`, or by
 * the end of a significant child. Time comes from the actor system's clock, chance from `input.rng`.
 */
export const superviseChart = base.createMachine({
  id: 'supervise',
  context: ({ input }) => {
    if (input.children.length > siblingsLimit) {
      throw new RangeError(
        `${input.children.length} children under one supervisor, at most ${siblingsLimit}`,
      );
    }
    return { ...input, alive: [], up: [], tries: {}, failures: 0, restarts: 0, endings: 0, ended: null };
  },
  initial: 'running',
  output: ({ context }) => context.ended ?? { kind: 'stopped' as const },
  states: {
    running: {
      entry: startAll,
      on: {
        'xstate.error.actor.*': [
          { guard: 'escalates', target: 'ended', actions: giveUp },
          { guard: 'endsAll', target: 'ended', actions: endWithChild },
          { actions: recover },
        ],
        'xstate.done.actor.*': [
          { guard: 'escalates', target: 'ended', actions: giveUp },
          { guard: 'endsAll', target: 'ended', actions: endWithChild },
          { guard: 'known', actions: recover },
        ],
        'supervise.restart': { actions: restart },
        'supervise.up': {
          actions: base.assign({
            up: ({ context, event }) => [...context.up, (event as { child: string }).child],
          }),
        },
        'supervise.stable': {
          actions: base.assign({
            tries: ({ context, event }) => ({ ...context.tries, [(event as { child: string }).child]: 0 }),
          }),
        },
        'supervise.forgive': {
          actions: base.assign({
            failures: ({ context, event }) => context.failures - (event as { weight: number }).weight,
          }),
        },
        'supervise.stop': 'ended',
      },
    },
    ended: { entry: stopAll, type: 'final' },
  },
  options: chartOptions,
});
