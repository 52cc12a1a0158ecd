import { expect, test } from 'vitest';
import { VirtualClock } from '#simulations/virtual-clock.ts';
import { RecordsCopy } from './records-copy.ts';

function setup() {
  const clock = new VirtualClock();
  const asked: ((value: string) => void)[] = [];
  const read = () => new Promise<string>((resolve) => asked.push(resolve));
  const copy = new RecordsCopy({ read, clock, refreshMs: 1_000, value: 'nothing' });
  return { clock, asked, copy };
}

test('who finds it old shares one read, and nobody reads what is fresh', async () => {
  const { clock, asked, copy } = setup();
  const reads = [copy.refreshIfOld(), copy.refreshIfOld()];
  expect(asked).toHaveLength(1);
  asked[0]?.('first');
  await Promise.all(reads);
  expect(copy.value).toBe('first');
  await copy.refreshIfOld();
  await clock.advanceBy(1_000);
  void copy.refreshIfOld();
  expect(asked).toHaveLength(2);
});

test('a slow answer does not take the place of one that was asked for later', async () => {
  const { asked, copy } = setup();
  const slow = copy.refreshIfOld();
  const later = copy.refresh();
  asked[1]?.('newest');
  await later;
  asked[0]?.('old');
  await slow;
  expect(copy.value).toBe('newest');
});

test('an answer is as old as its question: who came long after that has it read again', async () => {
  const { clock, asked, copy } = setup();
  const early = copy.refreshIfOld();
  await clock.advanceBy(1_000);
  const late = copy.refreshIfOld();
  expect(asked).toHaveLength(1);
  asked[0]?.('old');
  await early;
  await clock.settle();
  expect(asked).toHaveLength(2);
  asked[1]?.('new');
  await late;
  expect(copy.value).toBe('new');
  await clock.advanceBy(999);
  await copy.refreshIfOld();
  expect(asked).toHaveLength(2);
});

test('a read that fails is told to all who wait, and the next one asks again', async () => {
  const clock = new VirtualClock();
  let isDown = true;
  const read = () => (isDown ? Promise.reject(new Error('down')) : Promise.resolve('up'));
  const copy = new RecordsCopy({ read, clock, refreshMs: 1_000, value: 'nothing' });
  const reads = await Promise.allSettled([copy.refreshIfOld(), copy.refreshIfOld()]);
  expect(reads.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  isDown = false;
  await copy.refreshIfOld();
  expect(copy.value).toBe('up');
});
