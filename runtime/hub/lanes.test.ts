import { expect, test } from 'vitest';
import { Lanes } from './lanes.ts';

const lane = (group: string, affinity: string) => ({ group, affinity });

test('lanes have work until stats no longer name them, and are remembered as seen', () => {
  const lanes = new Lanes();
  lanes.noteWork(lane('g1', 'a'));
  lanes.noteWork(lane('g1', 'b'));
  expect(lanes.waiting('g1')).toEqual(['a', 'b']);
  lanes.noteStats([lane('g1', 'b'), lane('g2', '-')]);
  expect([lanes.waiting('g1'), lanes.waiting('g2'), lanes.waiting('g3')]).toEqual([['b'], ['-'], []]);
  expect(lanes.seen('g1')).toEqual(new Set(['a', 'b']));
});

test('of more than ten thousand lanes the one without work for longest is forgotten', () => {
  const lanes = new Lanes();
  for (let number = 0; number < 10_000; number++) lanes.noteWork(lane('g', `m${number}`));
  lanes.noteWork(lane('g', 'm0'));
  lanes.noteWork(lane('g', 'new'));
  const seen = lanes.seen('g');
  expect([seen.size, seen.has('m0'), seen.has('m1'), seen.has('new')]).toEqual([10_000, true, false, true]);
});
