import { expect, test } from 'vitest';
import { VirtualClock } from '#simulations/virtual-clock.ts';
import { Pace } from './pace.ts';

/** Asks for the turns of jobs 1 to `jobs` at once; `at` holds when each went. */
function setup(jobs: number): { clock: VirtualClock; pace: Pace; at: number[] } {
  const clock = new VirtualClock();
  const pace = new Pace(clock, new AbortController().signal);
  const at: number[] = [];
  for (let number = 1; number <= jobs; number++)
    void pace.turn(number).then(() => at.push(clock.monotonic()));
  return { clock, pace, at };
}

test('no job goes before a pace was set', async () => {
  const { clock, at } = setup(3);
  await clock.advanceTo(1_000);
  expect(at).toEqual([]);
});

test('jobs go one after the other, so many a second', async () => {
  const { clock, pace, at } = setup(5);
  pace.set({ perSecond: 100, upTo: 5 });
  await clock.advanceTo(1_000);
  expect(at.map((ms, index) => ms - (at[index - 1] ?? ms))).toEqual([0, 10, 10, 10, 10]);
});

test('none goes above the limit until it is raised', async () => {
  const { clock, pace, at } = setup(5);
  pace.set({ perSecond: 1_000, upTo: 2 });
  await clock.advanceTo(1_000);
  expect(at).toHaveLength(2);
  pace.set({ perSecond: 1_000, upTo: 5 });
  await clock.advanceTo(2_000);
  expect(at).toHaveLength(5);
});

test('a slower pace holds for the jobs that wait already', async () => {
  const { clock, pace, at } = setup(20);
  pace.set({ perSecond: 100, upTo: 20 });
  await clock.advanceTo(100);
  const before = at.length;
  pace.set({ perSecond: 1, upTo: 20 });
  await clock.advanceTo(3_150);
  expect(at.length - before).toBe(3);
});

test('a load that stood still catches up on a tenth of a second, not on all that it missed', async () => {
  const clock = new VirtualClock();
  const pace = new Pace(clock, new AbortController().signal);
  pace.set({ perSecond: 100, upTo: 1_000 });
  await pace.turn(1);
  await clock.advanceTo(10_000);
  const at: number[] = [];
  for (let number = 2; number <= 100; number++) void pace.turn(number).then(() => at.push(clock.monotonic()));
  await clock.advanceTo(10_005);
  expect(at.length).toBeGreaterThan(5);
  expect(at.length).toBeLessThan(15);
});

test('an abort ends every wait with its reason', async () => {
  const clock = new VirtualClock();
  const end = new AbortController();
  const pace = new Pace(clock, end.signal);
  const waits = [pace.turn(1), pace.turn(2)].map((turn) => turn.catch((error: unknown) => error));
  const reason = new Error('enough');
  end.abort(reason);
  expect(await Promise.all(waits)).toEqual([reason, reason]);
});
