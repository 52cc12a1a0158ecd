import { expect, test } from 'vitest';
import { Lanes } from './lanes.ts';

const lane = (group: string, affinity: string, more = {}) => ({
  group,
  affinity,
  waiting: 1,
  expectedMs: 7,
  ...more,
});

test('lanes have work until stats no longer name them, and are remembered as seen', () => {
  const lanes = new Lanes({ expectedMsDefault: 30_000 });
  lanes.noteWork(lane('g1', 'a'));
  lanes.noteWork(lane('g1', 'b'));
  expect([...lanes.waiting('g1').keys()]).toEqual(['a', 'b']);
  lanes.noteStats([lane('g1', 'b'), lane('g2', '-')]);
  const waiting = ['g1', 'g2', 'g3'].map((id) => [...lanes.waiting(id).keys()]);
  expect(waiting).toEqual([['b'], ['-'], []]);
  expect([...lanes.all()].map(({ affinity }) => affinity)).toEqual(['b', '-']);
  expect(lanes.seen('g1')).toEqual(new Set(['a', 'b']));
});

test('how many wait is what the stats told and what came since, how long they take what was submitted here', () => {
  const lanes = new Lanes({ expectedMsDefault: 30_000 });
  lanes.noteStats([lane('g1', 'a', { waiting: 5 })]);
  expect(lanes.work(lane('g1', 'a'))).toEqual({ waiting: 5, expectedMs: 30_000 });
  lanes.noteWork(lane('g1', 'a'));
  expect(lanes.work(lane('g1', 'a'))).toEqual({ waiting: 6, expectedMs: 7 });
  lanes.noteStats([lane('g1', 'a', { waiting: 2 })]);
  expect(lanes.work(lane('g1', 'a'))).toEqual({ waiting: 2, expectedMs: 7 });
  expect(lanes.work(lane('g2', 'a'))).toEqual({ waiting: 0, expectedMs: 30_000 });
});

test('of more than ten thousand lanes the one without work for longest is forgotten', () => {
  const lanes = new Lanes({ expectedMsDefault: 30_000 });
  for (let number = 0; number < 10_000; number++) lanes.noteWork(lane('g', `m${number}`));
  lanes.noteWork(lane('g', 'm0'));
  lanes.noteWork(lane('g', 'new'));
  const seen = lanes.seen('g');
  expect([seen.size, seen.has('m0'), seen.has('m1'), seen.has('new')]).toEqual([10_000, true, false, true]);
});
