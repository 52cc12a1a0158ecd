import { expect, test } from 'vitest';
import { sharedClock } from './bench-wake-clock.ts';

/** A process whose monotonic clock began at some time; each look at a clock takes `stepMs`. */
function process(options: { startedAtMs: number; stepMs: number }) {
  let wallMs = options.startedAtMs;
  const look = () => (wallMs += options.stepMs);
  return {
    clock: { now: () => Math.floor(look()), monotonic: () => look() - options.startedAtMs },
    wallMs: () => wallMs,
  };
}

test('processes that started at different times read the same time, finer than the clock of the system', () => {
  for (const startedAtMs of [1_000_000_000.25, 1_000_004_321.9]) {
    const { clock, wallMs } = process({ startedAtMs, stepMs: 0.01 });
    const read = sharedClock(clock)();
    expect(Math.abs(read - wallMs())).toBeLessThan(0.05);
  }
});

test('a turn of the clock that was seen late does not move the time', () => {
  const { clock, wallMs } = process({ startedAtMs: 5_000.5, stepMs: 0.01 });
  let looks = 0;
  // The core is lost for 3 ms each time the first turns are looked for.
  const disturbed = {
    now: clock.now,
    monotonic: () => (looks++ < 3 ? clock.monotonic() + 3 : clock.monotonic()),
  };
  const read = sharedClock(disturbed)();
  expect(Math.abs(read - wallMs())).toBeLessThan(0.05);
});
