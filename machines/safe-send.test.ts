import { describe, expect, test } from 'vitest';
import { type AnyActorRef, assign, createActor, fromTransition, setup } from 'xstate';
import { VirtualClock } from '#simulations/virtual-clock.ts';
import { chartRig } from './chart-rig.fixture.ts';
import { deadLetterBox, safeSend, type TellParams } from './safe-send.ts';

const sender = setup({
  types: { context: {} as { steps: number }, events: {} as { type: 'tell' } & TellParams },
  actions: { tell: safeSend },
}).createMachine({
  context: { steps: 0 },
  on: {
    tell: {
      actions: [
        { type: 'tell', params: ({ event }) => ({ to: event.to, event: event.event }) },
        assign({ steps: ({ context }) => context.steps + 1 }),
      ],
    },
  },
});

function rigWith(peers: string[]) {
  return chartRig({ chart: sender, clock: new VirtualClock(), peers, systemId: 'sender' });
}

describe('safeSend', () => {
  test('delivers by name, by ref, and to the parent', () => {
    const rig = rigWith(['a']);
    const ref = rig.subject.system.get('a') as AnyActorRef;
    for (const to of ['a', ref, 'parent']) rig.send({ type: 'tell', to, event: { type: 'hello' } });
    expect(rig.sent.map(({ to }) => to)).toEqual(['a', 'a', 'parent']);
  });

  test('an address that nobody has makes a dead letter, and the sender lives on', () => {
    const rig = rigWith([deadLetterBox]);
    rig.send({ type: 'tell', to: 'nobody', event: { type: 'hello' } });
    expect(rig.to(deadLetterBox)).toEqual([
      { type: 'letter.dead', reason: 'unknown-address', to: 'nobody', event: { type: 'hello' } },
    ]);
    expect(rig.context()).toEqual({ steps: 1 });
  });

  test('an actor that has stopped makes a dead letter', () => {
    const rig = rigWith([deadLetterBox, 'a']);
    const ref = rig.subject.system.get('a') as AnyActorRef;
    ref.send({ type: 'xstate.stop' });
    rig.send({ type: 'tell', to: ref, event: { type: 'hello' } });
    expect(rig.to(deadLetterBox)).toMatchObject([{ reason: 'stopped', to: 'a' }]);
  });

  test('without a box even that harms nobody', () => {
    const rig = rigWith([]);
    rig.send({ type: 'tell', to: undefined, event: { type: 'hello' } });
    expect(rig.subject.getSnapshot().status).toBe('active');
  });

  test('takes effect when the step of its sender is complete, as XState’s own sendTo does', () => {
    const seen: number[] = [];
    const rig = rigWith([]);
    const probe = createActor(
      fromTransition((state: null) => {
        seen.push(rig.context()['steps'] as number);
        return state;
      }, null),
    );
    probe.start();
    rig.send({ type: 'tell', to: probe, event: { type: 'hello' } });
    expect(seen).toEqual([1]);
  });

  test('inspection learns who sent it', () => {
    const sources: (string | undefined)[] = [];
    const root = createActor(sender, {
      systemId: 'root',
      inspect: (event) => {
        if (event.type === '@xstate.event' && event.event.type === 'hello')
          sources.push((event.sourceRef as AnyActorRef | undefined)?.id);
      },
    });
    root.start();
    root.send({ type: 'tell', to: 'root', event: { type: 'hello' } });
    expect(sources).toEqual([root.id]);
  });
});
