import { expect, test } from 'vitest';
import { PeerDirectory } from './peer-directory.ts';

const ref = (machineId: string, incarnation = 1) => ({ machineId, incarnation });

test('a machine is found at the hub that names it, by its very incarnation', () => {
  const directory = new PeerDirectory();
  directory.linked('a', [ref('m1', 2), ref('m2')]);
  expect(directory.holder(ref('m1', 2))).toBe('a');
  expect(directory.holder(ref('m1', 1))).toBeNull();
  expect(directory.holder(ref('m1', 3))).toBeNull();
  expect(directory.countOf('a')).toBe(2);
});

test('an older incarnation never takes the place of a newer one', () => {
  const directory = new PeerDirectory();
  directory.linked('a', [ref('m1', 5)]);
  directory.linked('b', [ref('m1', 4)]);
  expect(directory.holder(ref('m1', 5))).toBe('a');
  directory.linked('b', [ref('m1', 6)]);
  expect(directory.holder(ref('m1', 6))).toBe('b');
  expect(directory.countOf('a')).toBe(0);
});

test('a machine that moved is not lost by the farewell of the hub it left', () => {
  const directory = new PeerDirectory();
  directory.linked('a', [ref('m1')]);
  directory.linked('b', [ref('m1')]);
  directory.unlinked('a', [ref('m1')]);
  expect(directory.holder(ref('m1'))).toBe('b');
  directory.unlinked('b', [ref('m1', 9)]);
  expect(directory.holder(ref('m1'))).toBe('b');
  directory.unlinked('b', [ref('m1')]);
  expect(directory.holder(ref('m1'))).toBeNull();
});

test('a hub that is forgotten takes only its own machines along', () => {
  const directory = new PeerDirectory();
  directory.linked('a', [ref('m1'), ref('m2')]);
  directory.linked('b', [ref('m2')]);
  directory.forget('a');
  expect([directory.holder(ref('m1')), directory.holder(ref('m2'))]).toEqual([null, 'b']);
  expect([directory.countOf('a'), directory.countOf('b')]).toEqual([0, 1]);
  directory.forget('never');
});

test('a hub that names more machines than a hub may hold is not believed beyond that', () => {
  const directory = new PeerDirectory();
  const crowd = Array.from({ length: 100_001 }, (_, index) => ref(`m${index}`));
  directory.linked('a', crowd);
  expect(directory.countOf('a')).toBe(100_000);
  directory.linked('b', [ref('one-more')]);
  expect(directory.holder(ref('one-more'))).toBe('b');
});
