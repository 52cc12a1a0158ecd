import type { Clock, TimerId } from '#protocol/env.ts';

export interface LoopMonitor {
  /** Longest delay of the event loop in the last window, ms. */
  delayMs(): number;
  stop(): void;
}

/**
 * Measures how late timers fire: what computes in the process that beats puts its leases at risk. Two
 * windows are kept, so that one long pause is seen for at least `windowMs` and forgotten after twice
 * that. `onChange` is called when the delay rises above `limitMs`, and when it has been below again.
 */
export function monitorLoop(
  clock: Clock,
  options: {
    everyMs: number;
    windowMs: number;
    limitMs: number;
    onChange: (slow: boolean, delayMs: number) => void;
  },
): LoopMonitor {
  const { everyMs, windowMs, limitMs, onChange } = options;
  let older = 0;
  let newer = 0;
  let windowFromMs = clock.monotonic();
  let slow = false;
  let timer: TimerId = null;
  const delayMs = () => Math.max(older, newer);
  const arm = () => {
    const dueMs = clock.monotonic() + everyMs;
    timer = clock.setTimeout(() => {
      const nowMs = clock.monotonic();
      newer = Math.max(newer, nowMs - dueMs);
      if (nowMs - windowFromMs >= windowMs) {
        older = newer;
        newer = 0;
        windowFromMs = nowMs;
      }
      if (slow !== delayMs() > limitMs) {
        slow = !slow;
        onChange(slow, delayMs());
      }
      arm();
    }, everyMs);
  };
  arm();
  return { delayMs, stop: () => clock.clearTimeout(timer) };
}
