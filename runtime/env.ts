import { randomBytes } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import type { Clock, Env, Log, Rng } from '#protocol/env.ts';

/**
 * The system's clock, randomness and ids: the one place that touches them. A timer delay above
 * 2^31−1 ms would fire at once in Node, so it is walked in steps.
 */
const timerLimitMs = 2_147_483_647;

interface SystemTimer {
  handle: NodeJS.Timeout;
}

function startTimer(timer: SystemTimer, fn: () => void, delayMs: number): void {
  const stepMs = Math.min(Math.max(0, delayMs), timerLimitMs);
  timer.handle = setTimeout(
    () => (stepMs < delayMs ? startTimer(timer, fn, delayMs - stepMs) : fn()),
    stepMs,
  );
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  setTimeout(fn, delayMs) {
    const timer = {} as SystemTimer;
    startTimer(timer, fn, delayMs);
    return timer;
  },
  clearTimeout(id) {
    if (id !== undefined && id !== null) clearTimeout((id as SystemTimer).handle);
  },
};

const systemRng: Rng = {
  next: () => randomBytes(6).readUIntBE(0, 6) / 2 ** 48,
  int: (min, max) => min + Math.floor(systemRng.next() * (max - min + 1)),
  fork: () => systemRng,
};

let lastIdMs = 0;
let idsInMs = 0;

/** Time-ordered id: `prefix_`, 12 hex digits of ms, 4 of a counter within the ms, 12 random. */
function systemNewId(prefix: string): string {
  const nowMs = Math.max(systemClock.now(), lastIdMs);
  idsInMs = nowMs === lastIdMs ? idsInMs + 1 : 0;
  lastIdMs = idsInMs > 0xffff ? nowMs + 1 : nowMs;
  if (idsInMs > 0xffff) idsInMs = 0;
  const time = lastIdMs.toString(16).padStart(12, '0');
  return `${prefix}_${time}${idsInMs.toString(16).padStart(4, '0')}${randomBytes(6).toString('hex')}`;
}

/** The Env of a real process. */
export function systemEnv(log: Log): Env {
  return { clock: systemClock, rng: systemRng, newId: systemNewId, log };
}
