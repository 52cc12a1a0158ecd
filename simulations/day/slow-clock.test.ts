import { expect, test } from 'vitest';
import { VirtualClock } from '#simulations/virtual-clock.ts';
import { SlowClock } from './slow-clock.ts';

function clocks() {
  const world = new VirtualClock();
  return { world, own: new SlowClock(world) };
}

test('at factor 1 it is the clock of the world', async () => {
  const { world, own } = clocks();
  const fired: number[] = [];
  own.setTimeout(() => fired.push(world.monotonic()), 30);
  own.setTimeout(() => fired.push(world.monotonic()), 10);
  await world.advanceTo(20);
  expect(own.monotonic()).toBe(20);
  await world.advanceTo(40);
  expect(fired).toEqual([10, 30]);
  expect(own.now()).toBe(world.now());
});

test('a slow clock takes so many ms of the world for one of its own; wall time is not slowed down', async () => {
  const { world, own } = clocks();
  own.factor = 5;
  const fired: [number, number][] = [];
  own.setTimeout(() => fired.push([world.monotonic(), own.monotonic()]), 10);
  await world.advanceTo(100);
  expect(fired).toEqual([[50, 10]]);
  expect(own.monotonic()).toBe(20);
  expect(own.now()).toBe(world.now());
});

test('what is left of a timer is rescaled when the pace changes', async () => {
  const { world, own } = clocks();
  const fired: number[] = [];
  own.setTimeout(() => fired.push(world.monotonic()), 100);
  await world.advanceTo(40);
  own.factor = 10;
  await world.advanceTo(240);
  expect(own.monotonic()).toBe(60);
  own.factor = 1;
  await world.advanceTo(400);
  expect(fired).toEqual([280]);
});

test('timers of one instant fire in order of age, and a cleared one never', async () => {
  const { world, own } = clocks();
  const fired: string[] = [];
  own.setTimeout(() => fired.push('a'), 10);
  const cleared = own.setTimeout(() => fired.push('never'), 10);
  own.setTimeout(() => fired.push('b'), 10);
  own.setTimeout(() => fired.push('first'), 5);
  own.clearTimeout(cleared);
  own.clearTimeout(cleared);
  own.clearTimeout(null);
  await world.advanceTo(20);
  expect(fired).toEqual(['first', 'a', 'b']);
  expect(world.pending).toBe(0);
});

test('a timer may arm and clear others as it fires', async () => {
  const { world, own } = clocks();
  const fired: string[] = [];
  const doomed = own.setTimeout(() => fired.push('doomed'), 10);
  own.setTimeout(() => {
    fired.push('now');
    own.clearTimeout(doomed);
    own.setTimeout(() => fired.push('then'), 0);
  }, 9);
  await world.advanceTo(30);
  expect(fired).toEqual(['now', 'then']);
});

test('it never runs faster than the world', () => {
  const { own } = clocks();
  expect(() => {
    own.factor = 0.5;
  }).toThrow(RangeError);
});
