import { expect, test } from 'vitest';
import { EmpError } from '#protocol/errors.ts';
import { simEnv } from '#simulations/sim-env.ts';
import { Directories } from './directories.ts';

function setup() {
  const env = simEnv({ seed: 'directories' });
  const asked: { resolve: () => void; reject: (error: unknown) => void }[] = [];
  const working: Promise<void>[] = [];
  const slow = {
    refreshIfOld: () => new Promise<void>((resolve, reject) => asked.push({ resolve, reject })),
  };
  let others = 0;
  const other = { refreshIfOld: async () => void others++ };
  const directories = new Directories({
    directories: [slow, other],
    env,
    background: (reading) => working.push(reading),
  });
  let done = 0;
  const ask = () => void directories.refresh().then(() => done++);
  return { clock: env.clock, asked, working, ask, done: () => done, others: () => others };
}

test('who asks waits for a store that answers, and one reading serves all', async () => {
  const { clock, asked, ask, done, others } = setup();
  ask();
  ask();
  await clock.advanceBy(10);
  expect([asked.length, done()]).toEqual([1, 0]);
  asked[0]?.resolve();
  await clock.settle();
  expect([done(), others()]).toEqual([2, 1]);
  expect(clock.pending).toBe(0);
});

test('nobody waits longer than a quarter of a second for one that is silent, and later ones not at all', async () => {
  const { clock, asked, ask, done } = setup();
  ask();
  await clock.advanceBy(249);
  expect(done()).toBe(0);
  await clock.advanceBy(1);
  expect(done()).toBe(1);
  await clock.advanceBy(60_000);
  ask();
  await clock.settle();
  expect([done(), asked.length]).toEqual([2, 1]);
});

test('a refusal is no error of who asked, and the next one asks again', async () => {
  const { clock, asked, working, ask, done } = setup();
  ask();
  await clock.settle();
  asked[0]?.reject(new EmpError('RECORDS_UNAVAILABLE'));
  await clock.settle();
  expect(done()).toBe(1);
  await expect(Promise.all(working)).resolves.toBeDefined();
  ask();
  await clock.settle();
  expect(asked).toHaveLength(2);
});

test('what was asked within a second is not asked again', async () => {
  const { clock, asked, ask } = setup();
  ask();
  await clock.settle();
  asked[0]?.resolve();
  await clock.advanceBy(999);
  ask();
  expect(asked).toHaveLength(1);
  await clock.advanceBy(1);
  ask();
  expect(asked).toHaveLength(2);
});
