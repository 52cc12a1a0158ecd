import {
  type AnyActorLogic,
  type AnyEventObject,
  type AnyStateMachine,
  type CallbackActorLogic,
  fromCallback,
  fromPromise,
  type PromiseActorLogic,
} from 'xstate';

const placeholders = new WeakSet<object>();

function placeholder<T extends object>(logic: T): T {
  placeholders.add(logic);
  return logic;
}

const missing = () => {
  throw new Error('this effect was declared by a chart and never provided: missingActors(chart) names it');
};

/** An effect that a chart names with its types: one answer to one question. `provide` brings the real one. */
export function unprovided<TOutput, TInput>(): PromiseActorLogic<TOutput, TInput> {
  return placeholder(fromPromise<TOutput, TInput>(missing));
}

/** An effect that lives as long as a state and speaks in events. */
export function unprovidedCallback<TEvent extends AnyEventObject, TInput>(): CallbackActorLogic<
  TEvent,
  TInput
> {
  return placeholder(fromCallback<TEvent, TInput>(missing));
}

/**
 * Names of effects that a chart declares and nobody provided, `chart.effect` each, also those of
 * charts that it invokes. Composition refuses to start while there are any: at run time `onError`
 * would hide the gap as an endless retry.
 */
export function missingActors(chart: AnyStateMachine, seen = new Set<AnyActorLogic>()): string[] {
  if (seen.has(chart)) return [];
  seen.add(chart);
  return Object.entries(chart.implementations.actors as Record<string, AnyActorLogic>).flatMap(
    ([name, logic]) => {
      if (placeholders.has(logic)) return [`${chart.id}.${name}`];
      return isChart(logic) ? missingActors(logic, seen) : [];
    },
  );
}

function isChart(logic: AnyActorLogic): logic is AnyStateMachine {
  return 'implementations' in logic && 'root' in logic;
}
