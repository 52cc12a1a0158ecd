import { expect, test } from 'vitest';
import { StartGate } from './start-gate.ts';

function setup(limit = 3) {
  const gate = new StartGate({ limit });
  const told: string[] = [];
  const come = (name: string) =>
    gate.pass({ go: () => told.push(name), refuse: ({ code }) => told.push(`${name} ${code}`) });
  return { gate, told, come };
}

test('what comes before the start waits for it in its order, what comes later does not wait', () => {
  const { gate, told, come } = setup();
  come('first');
  come('second');
  expect(told).toEqual([]);
  expect(gate.isOpen).toBe(false);
  gate.open();
  expect(come('late')).toBeNull();
  expect(told).toEqual(['first', 'second', 'late']);
  expect(gate.isOpen).toBe(true);
});

test('a start that is given up refuses what waits and what comes, once, and does not open again', () => {
  const { gate, told, come } = setup();
  come('first');
  come('second');
  gate.close();
  gate.close();
  come('late');
  gate.open();
  expect(told).toEqual(['first DRAINING', 'second DRAINING', 'late DRAINING']);
  expect(gate.isOpen).toBe(false);
});

test('a hub that has started lets requests in until its server is closed', () => {
  const { gate, told, come } = setup();
  gate.open();
  gate.close();
  come('late');
  expect(told).toEqual(['late']);
});

test('what comes when as many wait as may is refused at once, and those that wait keep their places', () => {
  const { gate, told, come } = setup(2);
  come('first');
  come('second');
  expect(come('third')).toBeNull();
  expect(told).toEqual(['third INBOX_FULL']);
  gate.open();
  expect(told).toEqual(['third INBOX_FULL', 'first', 'second']);
});

test('who leaves is told nothing and makes room for another', () => {
  const { gate, told, come } = setup(1);
  come('gone')?.();
  come('next');
  gate.open();
  expect(told).toEqual(['next']);
});
