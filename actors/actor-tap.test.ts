import { describe, expect, test } from 'vitest';
import { type AnyActorRef, type AnyEventObject, createActor, fromCallback, setup } from 'xstate';
import { VirtualClock } from '#simulations/virtual-clock.ts';
import { ActorTap, type TapFrame } from './actor-tap.ts';
import { snapshotWhere, watchActor } from './actor-watch.ts';
import { DeadLetters } from './dead-letters.ts';

const child = setup({
  types: { events: {} as { type: 'go'; ok: boolean } | { type: 'finish' } },
}).createMachine({
  id: 'child',
  initial: 'a',
  states: {
    a: { on: { go: { guard: ({ event }) => event.ok, target: 'b' }, finish: 'c' } },
    b: {},
    c: { type: 'final' },
  },
});
const rootChart = setup({
  actors: { child, idle: fromCallback<AnyEventObject>(() => undefined) },
}).createMachine({
  invoke: [
    { src: 'child', id: 'child', systemId: 'child', onDone: {}, onError: {} },
    { src: 'idle', id: 'idle' },
  ],
});

function setupTap() {
  const clock = new VirtualClock();
  const letters = new DeadLetters({ monotonic: () => clock.monotonic() });
  const tap = new ActorTap({ clock, letters, onFailure: () => undefined });
  const frames: TapFrame[] = [];
  const quiet = tap.listen((frame) => frames.push(frame));
  const root = createActor(rootChart, { clock, inspect: tap.inspect });
  watchActor(root, { error: () => undefined });
  root.start();
  return {
    clock,
    letters,
    tap,
    frames,
    quiet,
    root,
    child: root.system.get('child' as never) as AnyActorRef,
  };
}

describe('actor tap', () => {
  test('names actors by their path from the root, and shows their states', () => {
    const { tap } = setupTap();
    expect(tap.tree().map(({ path, value, status }) => [path, value, status])).toEqual([
      ['', {}, 'active'],
      ['child', 'a', 'active'],
      ['idle', null, 'active'],
    ]);
  });

  test('tells each step with its event, its state and a number that only rises', () => {
    const { child: ref, frames } = setupTap();
    ref.send({ type: 'go', ok: true });
    expect(frames.filter((frame) => frame.path === 'child' && frame.kind === 'state').at(-1)).toMatchObject({
      event: 'go',
      value: 'b',
    });
    const seqs = frames.map((frame) => frame.seq);
    expect(seqs).toEqual([...seqs].sort((a, b) => a - b));
    expect(new Set(seqs).size).toBe(seqs.length);
  });

  test('an event that a guard refused is blocked, not lost', () => {
    const { child: ref, frames, letters } = setupTap();
    ref.send({ type: 'go', ok: false });
    expect(frames.map((frame) => frame.kind)).toContain('blocked');
    expect(letters.total).toBe(0);
  });

  test('an event that nobody expects is a dead letter', () => {
    const { child: ref, letters } = setupTap();
    ref.send({ type: 'surprise' });
    expect(letters.recent()).toMatchObject([{ reason: 'unhandled', to: 'child', event: 'surprise' }]);
  });

  test('an event to an actor that has ended is a dead letter, and the actor is forgotten', () => {
    const { child: ref, letters, tap } = setupTap();
    ref.send({ type: 'finish' });
    ref.send({ type: 'go', ok: true });
    expect(letters.recent()).toMatchObject([{ reason: 'stopped', event: 'go' }]);
    expect(tap.tree().map(({ path }) => path)).toEqual(['', 'idle']);
  });

  test('says for how long an actor has heard nothing', async () => {
    const { child: ref, tap, clock } = setupTap();
    await clock.advanceBy(5_000);
    ref.send({ type: 'go', ok: true });
    await clock.advanceBy(1_000);
    expect(tap.tree().find(({ path }) => path === 'child')).toMatchObject({
      ageMs: 6_000,
      sinceLastEventMs: 1_000,
    });
  });

  test('frames stop with the listener', () => {
    const { child: ref, frames, quiet } = setupTap();
    quiet();
    const before = frames.length;
    ref.send({ type: 'go', ok: true });
    expect(frames).toHaveLength(before);
  });
});

describe('snapshotWhere', () => {
  test('resolves with the first snapshot that fits, also the present one', async () => {
    const actor = createActor(child).start();
    await expect(snapshotWhere(actor, (snapshot) => snapshot.value === 'a')).resolves.toMatchObject({
      value: 'a',
    });
    const later = snapshotWhere(actor, (snapshot) => snapshot.value === 'b');
    actor.send({ type: 'go', ok: true });
    await expect(later).resolves.toMatchObject({ value: 'b' });
  });

  test('rejects when the actor ends otherwise', async () => {
    const actor = createActor(child).start();
    const never = snapshotWhere(actor, (snapshot) => snapshot.value === 'b');
    actor.send({ type: 'finish' });
    await expect(never).rejects.toThrow('ended before');
  });
});
