import { describe, expect, test } from 'vitest';
import {
  type AnyActorRef,
  type AnyEventObject,
  assign,
  createActor,
  fromCallback,
  fromPromise,
  raise,
  sendTo,
  setup,
} from 'xstate';
import { chartOptions } from '#machines/chart-options.ts';
import { safeSend } from '#machines/safe-send.ts';
import { superviseChart } from '#machines/supervise.ts';
import { seededRng } from '#simulations/seeded-rng.ts';
import { VirtualClock } from '#simulations/virtual-clock.ts';
import { ActorTap } from './actor-tap.ts';
import { watchActor } from './actor-watch.ts';
import { DeadLetters } from './dead-letters.ts';

/**
 * What XState 5.33.3 does that could bring a machine down or leak work, and the rule that holds
 * against it. When an upgrade changes one of these, the test says which rule may go.
 */

function tapped(clock = new VirtualClock()) {
  const letters = new DeadLetters({ monotonic: () => clock.monotonic() });
  const failures: string[] = [];
  const tap = new ActorTap({ clock, letters, onFailure: ({ path }) => failures.push(path) });
  return { clock, letters, tap, failures };
}

/** Starts a root and keeps its error away from the process. */
function started(logic: Parameters<typeof createActor>[0], options: object = {}) {
  const errors: unknown[] = [];
  const root = createActor(logic, options as never) as AnyActorRef;
  watchActor(root, { error: (error) => errors.push(error) });
  root.start();
  return { root, errors };
}

const thrower = (children: Record<string, AnyActorLogicLike>) =>
  setup({ types: { events: {} as { type: 'throw' } }, actors: children as never }).createMachine({
    id: 'thrower',
    invoke: Object.keys(children).map((src) => ({ src, id: src, onError: {} })) as never,
    on: {
      throw: {
        actions: () => {
          throw new Error('bug in an action');
        },
      },
    },
  });
type AnyActorLogicLike = ReturnType<typeof fromCallback> | ReturnType<typeof fromPromise>;

describe('pitfalls of XState and our rules', () => {
  test('1: the children of an actor that throws run on; the tap stops them, deepest first', () => {
    const stopped: string[] = [];
    const aborted: boolean[] = [];
    const child = fromCallback(() => () => void stopped.push('callback'));
    const promise = fromPromise(
      ({ signal }) => new Promise(() => signal.addEventListener('abort', () => aborted.push(true))),
    );
    const bare = started(thrower({ child, promise }));
    bare.root.send({ type: 'throw' });
    expect([stopped, aborted]).toEqual([[], []]);

    const { tap, failures } = tapped();
    const parent = setup({ actors: { thrower: thrower({ child, promise }) } }).createMachine({
      invoke: { src: 'thrower', id: 'below', onError: {} },
    });
    const { root } = started(parent, { inspect: tap.inspect });
    (root.getSnapshot().children['below'] as AnyActorRef).send({ type: 'throw' });
    expect([stopped, aborted]).toEqual([['callback'], [true]]);
    expect(failures).toEqual(['below']);
    expect(tap.orphansStopped).toBe(2);
  });

  test('2: an unhandled failure of a child ends its parent; under supervise nothing goes unhandled', async () => {
    const failing = fromPromise(() => Promise.reject(new Error('boom')));
    const bare = started(setup({ actors: { failing } }).createMachine({ invoke: { src: 'failing' } }));
    const clock = new VirtualClock();
    const { root } = started(superviseChart, {
      clock,
      input: {
        children: [{ id: 'failing.with.dots', logic: failing, restart: 'permanent' }],
        strategy: 'one-for-one',
        intensity: 5,
        periodMs: 1_000,
        backoff: { baseMs: 10, limitMs: 10 },
        rng: seededRng(1),
      },
    });
    await clock.settle();
    expect(bare.root.getSnapshot().status).toBe('error');
    expect(root.getSnapshot().status).toBe('active');
    expect(root.getSnapshot().context).toMatchObject({ restarts: 1 });
  });

  test('3: a bare wildcard swallows the failure of a child: lint forbids it in charts', async () => {
    const failing = fromPromise(() => Promise.reject(new Error('boom')));
    const swallowing = setup({ actors: { failing } }).createMachine({
      invoke: { src: 'failing' },
      on: { '*': {} },
    });
    const { root } = started(swallowing);
    await new VirtualClock().settle();
    expect(root.getSnapshot().status).toBe('active');
  });

  test('4: watchActor always has an error handler, so a failure stays where it was handled', async () => {
    const child = fromPromise(() => Promise.reject(new Error('boom')));
    const parent = setup({ actors: { child } }).createMachine({
      invoke: { src: 'child', id: 'c', onError: {} },
    });
    const { root, errors } = started(parent);
    const seen: unknown[] = [];
    watchActor(root.getSnapshot().children['c'] as AnyActorRef, { error: (error) => seen.push(error) });
    await new VirtualClock().settle();
    // An uncaught exception would have failed this test file.
    expect(seen).toHaveLength(1);
    expect(errors).toEqual([]);
  });

  test('5: sendTo an absent child ends the sender; safeSend does not', () => {
    const chart = setup({
      types: { events: {} as { type: 'raw' } | { type: 'safe' } },
      actions: { tell: safeSend },
    }).createMachine({
      on: {
        raw: { actions: sendTo('nobody', { type: 'x' }) },
        safe: { actions: { type: 'tell', params: { to: 'nobody', event: { type: 'x' } } } },
      },
    });
    const safe = started(chart).root;
    safe.send({ type: 'safe' });
    expect(safe.getSnapshot().status).toBe('active');
    const raw = started(chart);
    raw.root.send({ type: 'raw' });
    expect(raw.root.getSnapshot().status).toBe('error');
  });

  test('6: a second child of the same id leaks the first; supervise stops before it starts again', async () => {
    let alive = 0;
    const child = fromCallback(() => {
      alive++;
      return () => alive--;
    });
    const clock = new VirtualClock();
    const { root } = started(superviseChart, {
      clock,
      input: {
        children: [{ id: 'c', logic: child, restart: 'permanent' }],
        strategy: 'all-for-one',
        intensity: 100,
        periodMs: 1_000,
        backoff: { baseMs: 10, limitMs: 10 },
        rng: seededRng(1),
      },
    });
    for (let round = 0; round < 20; round++) {
      root.send({ type: 'xstate.error.actor.c', actorId: 'c', error: new Error('boom') });
      await clock.advanceBy(50);
    }
    expect(alive).toBe(1);
  });

  test('7: ended children stay in the snapshot until they are stopped; supervise stops them', async () => {
    const done = fromPromise(async () => undefined);
    const clock = new VirtualClock();
    const children = Array.from({ length: 20 }, (_, index) => ({
      id: `c${index}`,
      logic: done,
      restart: 'temporary' as const,
    }));
    const { root } = started(superviseChart, {
      clock,
      input: {
        children,
        strategy: 'one-for-one',
        intensity: 1,
        periodMs: 1_000,
        backoff: { baseMs: 1, limitMs: 1 },
        rng: seededRng(1),
      },
    });
    await clock.settle();
    expect(Object.keys(root.getSnapshot().children)).toEqual([]);
  });

  test('8: an inspector that throws breaks send; the tap counts its failures and the listeners’', () => {
    const chart = setup({ types: { events: {} as { type: 'go' } } }).createMachine({
      initial: 'a',
      states: { a: { on: { go: 'b' } }, b: {} },
    });
    const inspect = () => {
      throw new Error('viewer');
    };
    expect(() => createActor(chart, { inspect }).start()).toThrow('viewer');
    const { tap } = tapped();
    tap.listen(() => {
      throw new Error('viewer');
    });
    const { root } = started(chart, { inspect: tap.inspect });
    root.send({ type: 'go' });
    expect(root.getSnapshot().value).toBe('b');
    expect(tap.observerErrors).toBeGreaterThan(0);
  });

  test('9 and 10: timers are lost and promises run again on restore; nothing here restores a snapshot', async () => {
    let runs = 0;
    const work = fromPromise(async () => ++runs);
    const chart = setup({ actors: { work } }).createMachine({
      initial: 'a',
      states: { a: { invoke: { src: 'work' }, after: { 100: 'b' } }, b: {} },
    });
    const clock = new VirtualClock();
    const first = started(chart, { clock }).root as ReturnType<typeof createActor<typeof chart>>;
    const snapshot = first.getPersistedSnapshot();
    first.stop();
    const { root } = started(chart, { clock, snapshot });
    await clock.advanceBy(1_000);
    expect(root.getSnapshot().value).toBe('a');
    expect(runs).toBe(2);
  });

  test('11: exit actions do not run on stop; disposers and signals do', () => {
    const log: string[] = [];
    const child = fromCallback(() => () => void log.push('disposed'));
    const chart = setup({ actors: { child } }).createMachine({
      invoke: { src: 'child' },
      exit: () => void log.push('exit'),
    });
    const { root } = started(chart);
    (root as ReturnType<typeof createActor>).stop();
    expect(log).toEqual(['disposed']);
  });

  test('12: the late result of a stopped promise is ignored', async () => {
    let resolve: (value: string) => void = () => undefined;
    const late = fromPromise<string>(() => new Promise((done) => (resolve = done)));
    const chart = setup({ types: { events: {} as { type: 'leave' } }, actors: { late } }).createMachine({
      initial: 'asking',
      states: {
        asking: { invoke: { src: 'late', onDone: 'answered' }, on: { leave: 'gone' } },
        answered: {},
        gone: {},
      },
    });
    const { root } = started(chart);
    root.send({ type: 'leave' });
    resolve('too late');
    await new VirtualClock().settle();
    expect(root.getSnapshot().value).toBe('gone');
  });

  test('13: a child may restart under its id and name from its own error event', async () => {
    let starts = 0;
    const failing = fromCallback<AnyEventObject>(() => {
      if (++starts === 1) throw new Error('boom');
    });
    const clock = new VirtualClock();
    const { root } = started(superviseChart, {
      clock,
      input: {
        children: [{ id: 'c', logic: failing, restart: 'permanent' }],
        strategy: 'one-for-one',
        intensity: 5,
        periodMs: 1_000,
        backoff: { baseMs: 0, limitMs: 0 },
        rng: seededRng(1),
      },
    });
    await clock.advanceBy(0);
    expect(starts).toBe(2);
    expect(root.system.get('c')).toBeDefined();
  });

  test('14: a guard that throws ends its chart with a message that names it', () => {
    const chart = setup({
      types: { events: {} as { type: 'go' } },
      guards: {
        broken: () => {
          throw new Error('undefined is not an object');
        },
      },
    }).createMachine({ on: { go: { guard: 'broken' } } });
    const { root, errors } = started(chart);
    root.send({ type: 'go' });
    expect(String(errors[0])).toContain('broken');
  });

  test('15: histories live outside context: the dead letter ring does not grow', () => {
    const letters = new DeadLetters({ monotonic: () => 0 });
    for (let letter = 0; letter < 1_000; letter++)
      letters.record({ reason: 'unhandled', to: 'a', event: `e${letter}` });
    expect(letters.recent()).toHaveLength(200);
    expect(letters.recent()[0]).toMatchObject({ seq: 801, event: 'e800' });
    expect(letters.counts()).toMatchObject({ unhandled: 1_000 });
  });

  test('a cycle of eventless transitions hangs the process by default; ours fails by name', () => {
    const chart = setup({
      types: { context: {} as { turns: number }, events: {} as { type: 'spin' } },
    }).createMachine({
      context: { turns: 0 },
      on: {
        spin: { actions: [assign({ turns: ({ context }) => context.turns + 1 }), raise({ type: 'spin' })] },
      },
      options: chartOptions,
    });
    const { root, errors } = started(chart);
    root.send({ type: 'spin' });
    expect(String(errors[0])).toContain('Infinite loop');
  });
});
