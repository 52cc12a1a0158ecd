import { describe, expect, test } from 'vitest';
import type { Clock } from '#protocol/env.ts';
import { VirtualClock } from '#simulations/virtual-clock.ts';
import { monitorLoop } from './loop-monitor.ts';

/** A clock whose timers fire late by what the test says: an event loop that is busy elsewhere. */
function setup() {
  const clock = new VirtualClock();
  const late = { ms: 0 };
  const lateClock: Clock = {
    now: () => clock.now(),
    monotonic: () => clock.monotonic(),
    setTimeout: (fn, delayMs) => clock.setTimeout(fn, delayMs + late.ms),
    clearTimeout: (id) => clock.clearTimeout(id),
  };
  const changes: boolean[] = [];
  const monitor = monitorLoop(lateClock, {
    everyMs: 250,
    windowMs: 10_000,
    limitMs: 1_000,
    onChange: (slow) => changes.push(slow),
  });
  return { clock, late, monitor, changes };
}

describe('loop monitor', () => {
  test('timers in time are no delay', async () => {
    const { clock, monitor, changes } = setup();
    await clock.advanceBy(60_000);
    expect(monitor.delayMs()).toBe(0);
    expect(changes).toEqual([]);
  });

  test('a pause is reported once, kept for at least a window, and forgotten after two', async () => {
    const { clock, late, monitor, changes } = setup();
    late.ms = 1_500;
    await clock.advanceBy(4_000);
    expect(changes).toEqual([true]);
    expect(monitor.delayMs()).toBe(1_500);
    late.ms = 0;
    await clock.advanceBy(6_000);
    expect(monitor.delayMs()).toBe(1_500);
    await clock.advanceBy(22_000);
    expect(monitor.delayMs()).toBe(0);
    expect(changes).toEqual([true, false]);
  });

  test('a stopped monitor leaves no timer', () => {
    const { clock, monitor } = setup();
    monitor.stop();
    expect(clock.pending).toBe(0);
  });
});
