import type { JsonObject } from './json.ts';

/** Handle of a pending timer. Opaque: only the clock that made it may clear it. */
export type TimerId = unknown;

/**
 * The one source of time in a process. Its shape is a superset of XState's `Clock`, so the same
 * object drives `after` delays, leases and backoff, and a simulation can step all of them at once.
 */
export interface Clock {
  /** Wall time, ms since 1970. May step; never used to measure how long something took. */
  now(): number;
  /** Monotonic ms since an arbitrary origin. Leases and deadlines are measured with this. */
  monotonic(): number;
  /** Calls `fn` once, `delayMs` from now (0 or more). */
  setTimeout(fn: () => void, delayMs: number): TimerId;
  clearTimeout(id: TimerId): void;
}

/** Seeded or system randomness. Forks are independent: a new draw in one never shifts another. */
export interface Rng {
  /** Uniform in [0, 1). */
  next(): number;
  /** Uniform integer in [min, max], both included; both must be safe integers, min ≤ max. */
  int(min: number, max: number): number;
  fork(name: string): Rng;
}

/** Makes an id `${prefix}_${time-ordered unique part}`, e.g. `job_0199…`. */
export type NewId = (prefix: string) => string;

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** Structured log: one event name in past tense and fields; no customer content in fields. */
export interface Log {
  debug(event: string, fields?: JsonObject): void;
  info(event: string, fields?: JsonObject): void;
  warn(event: string, fields?: JsonObject): void;
  error(event: string, fields?: JsonObject): void;
  child(fields: JsonObject): Log;
}

/**
 * What a process may know of the world outside. Everything that decides or acts takes it as an
 * argument; lint bans the globals behind it elsewhere, because one stray `Date.now()` makes a
 * simulation that cannot be repeated.
 */
export interface Env {
  clock: Clock;
  rng: Rng;
  newId: NewId;
  log: Log;
}

/** Resolves after `delayMs` of the given clock; rejects with the reason of `signal` when that aborts first. */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const onAbort = () => {
      clock.clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = clock.setTimeout(() => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    }, delayMs);
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}
