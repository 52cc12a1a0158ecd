import { describe, expect, test } from 'vitest';
import { createActor, fromCallback, fromPromise } from 'xstate';
import type { SingletonLease } from '#protocol/records.ts';
import { VirtualClock } from '#simulations/virtual-clock.ts';
import { type HoldAnswer, type HoldQuestion, type SingletonEvent, singletonChart } from './singleton.ts';
import { missingActors } from './unprovided.ts';

const ttlMs = 6_000;
const lease: SingletonLease = { name: 'sweeper', holder: 'hub-1', token: 7, untilMs: 0 };

function setup() {
  const clock = new VirtualClock();
  const questions: HoldQuestion[] = [];
  const story: string[] = [];
  const world = { answer: { kind: 'held', lease, restMs: 5_000 } as HoldAnswer | 'silence' | 'failure' };
  const chart = singletonChart.provide({
    actors: {
      hold: fromPromise<HoldAnswer, HoldQuestion>(async ({ input }) => {
        questions.push(input);
        if (world.answer === 'silence') return await new Promise<never>(() => {});
        if (world.answer === 'failure') throw new Error('no store');
        return world.answer;
      }),
      drop: fromPromise<void, { lease: SingletonLease }>(async ({ input }) => {
        story.push(`drop ${input.lease.token}`);
      }),
      work: fromCallback<SingletonEvent, { lease: SingletonLease }>(({ input }) => {
        story.push(`begin ${input.lease.token}`);
        return () => story.push('end');
      }),
    },
  });
  const actor = createActor(chart, { input: { name: 'sweeper', ttlMs }, clock });
  actor.start();
  return { clock, questions, story, world, actor };
}

describe('singleton', () => {
  test('names its effects, so that composition can refuse a gap', () => {
    expect(missingActors(singletonChart)).toEqual(['singleton.hold', 'singleton.drop', 'singleton.work']);
  });

  test('works while it holds and renews before its time, under the same lease', async () => {
    const { clock, questions, story, actor } = setup();
    await clock.advanceBy(60_000);
    expect(story).toEqual(['begin 7']);
    expect(actor.getSnapshot().matches('held')).toBe(true);
    expect(questions.length).toBeGreaterThan(25);
    expect(questions.slice(1).every((question) => question.current?.token === 7)).toBe(true);
  });

  test('a store that refuses at once is asked a few times before the rest is given up', async () => {
    const { clock, questions, story, world } = setup();
    await clock.advanceBy(0);
    const before = questions.length;
    const refusedMs = clock.monotonic();
    const answer = { kind: 'unanswered' } as const;
    Object.defineProperty(world, 'answer', {
      get: () => ({ ...answer, restMs: 5_000 - (clock.monotonic() - refusedMs) }),
    });
    await clock.advanceBy(5_000);
    expect(story).toEqual(['begin 7', 'end']);
    expect(questions.length - before).toBeLessThan(12);
  });

  test('a refused holder asks again and takes the role when it is free', async () => {
    const { clock, story, world } = setup();
    world.answer = { kind: 'refused' };
    await clock.advanceBy(2_000);
    await clock.advanceBy(10_000);
    expect(story).toEqual(['begin 7', 'end']);
    world.answer = { kind: 'held', lease: { ...lease, token: 9 }, restMs: 5_000 };
    await clock.advanceBy(ttlMs / 3);
    expect(story).toEqual(['begin 7', 'end', 'begin 9']);
  });

  test.each(['silence', 'failure'] as const)(
    'a store in %s ends the work before the lease does',
    async (kind) => {
      const { clock, story, world } = setup();
      await clock.advanceBy(1);
      world.answer = kind;
      await clock.advanceBy(5_000);
      expect(story).toEqual(['begin 7', 'end']);
    },
  );

  test('an unanswered renewal goes on while time is left', async () => {
    const { clock, story, world } = setup();
    await clock.advanceBy(1);
    world.answer = { kind: 'unanswered', restMs: 2_500 };
    await clock.advanceBy(2_500);
    expect(story).toEqual(['begin 7']);
    world.answer = { kind: 'unanswered', restMs: 0 };
    await clock.advanceBy(2_500);
    expect(story).toEqual(['begin 7', 'end']);
  });

  test('a stale effect ends the work at once and the next lease is a new one', async () => {
    const { clock, story, questions, actor } = setup();
    await clock.advanceBy(1);
    actor.send({ type: 'singleton.stale' });
    expect(story).toEqual(['begin 7', 'end']);
    await clock.advanceBy(ttlMs / 3);
    expect(questions.at(-1)?.current).toBeNull();
    expect(story).toEqual(['begin 7', 'end', 'begin 7']);
  });

  test('stop gives the role back and ends', async () => {
    const { clock, story, actor } = setup();
    await clock.advanceBy(1);
    actor.send({ type: 'singleton.stop' });
    await clock.settle();
    expect(story).toEqual(['begin 7', 'end', 'drop 7']);
    expect(actor.getSnapshot().status).toBe('done');
  });
});
