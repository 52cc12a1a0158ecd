import { expect, test } from 'vitest';
import { StartGate } from './start-gate.ts';

test('what comes before the start waits for it in its order, what comes later does not wait', () => {
  const gate = new StartGate();
  const passed: string[] = [];
  gate.pass(() => passed.push('first'));
  gate.pass(() => passed.push('second'));
  expect(passed).toEqual([]);
  gate.open();
  gate.pass(() => passed.push('late'));
  expect(passed).toEqual(['first', 'second', 'late']);
});
