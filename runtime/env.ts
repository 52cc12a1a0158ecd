import { randomFillSync } from 'node:crypto';
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

/** Random bytes are asked for in pages: one call for each number costs more than what the number is for. */
const page = { bytes: Buffer.alloc(6_144), used: 6_144 };

/** A whole number of 48 random bits. */
function random48(): number {
  if (page.used === page.bytes.length) {
    randomFillSync(page.bytes);
    page.used = 0;
  }
  const drawn = page.bytes.readUIntBE(page.used, 6);
  // A number that was given out, a secret perhaps, does not stay in memory.
  page.bytes.writeUIntBE(0, page.used, 6);
  page.used += 6;
  return drawn;
}

const systemRng: Rng = {
  next: () => random48() / 2 ** 48,
  int: (min, max) => min + Math.floor(systemRng.next() * (max - min + 1)),
  fork: () => systemRng,
};

/** Six hex digits. In halves, because the text of a number above 31 bits takes ten times as long. */
const hex24 = (value: number) => Math.floor(value).toString(16).padStart(6, '0');

let lastIdMs = 0;
let idsInMs = 0;

/** Time-ordered id: `prefix_`, 12 hex digits of ms, 4 of a counter within the ms, 12 random. */
function systemNewId(prefix: string): string {
  const nowMs = Math.max(systemClock.now(), lastIdMs);
  idsInMs = nowMs === lastIdMs ? idsInMs + 1 : 0;
  lastIdMs = idsInMs > 0xffff ? nowMs + 1 : nowMs;
  if (idsInMs > 0xffff) idsInMs = 0;
  const drawn = random48();
  const time = lastIdMs.toString(16).padStart(12, '0');
  return `${prefix}_${time}${idsInMs.toString(16).padStart(4, '0')}${hex24(drawn / 2 ** 24)}${hex24(drawn % 2 ** 24)}`;
}

/** The Env of a real process. */
export function systemEnv(log: Log): Env {
  return { clock: systemClock, rng: systemRng, newId: systemNewId, log };
}
