import { expect, test } from 'vitest';
import { VirtualClock } from '#simulations/virtual-clock.ts';
import { stopSignals } from './stop-signals.ts';

function setup() {
  const clock = new VirtualClock();
  const told: string[] = [];
  const handle = stopSignals({
    clock,
    first: (signal) => told.push(signal),
    again: () => told.push('again'),
  });
  return { clock, told, handle };
}

test('what npm hands on is the same Ctrl-C', async () => {
  const { clock, told, handle } = setup();
  handle('SIGINT');
  await clock.advanceBy(90);
  handle('SIGINT');
  expect(told).toEqual(['SIGINT']);
});

test('who presses again after that does not want to wait', async () => {
  const { clock, told, handle } = setup();
  handle('SIGINT');
  await clock.advanceBy(500);
  handle('SIGTERM');
  expect(told).toEqual(['SIGINT', 'again']);
});
