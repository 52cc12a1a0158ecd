import type { Clock, TimerId } from '#protocol/env.ts';

/** Close codes of the link. 44xx: the machine must change something before it comes back. */
export const linkCloseCodes = {
  limit: 1_008,
  closing: 1_001,
  silent: 4_000,
  tooSlow: 1_013,
  unauthorized: 4_401,
  forbidden: 4_403,
  superseded: 4_409,
} as const;

/** At most `perSecond` in the long run, twice that at once. */
export class RateLimit {
  readonly #clock: Clock;
  readonly #perSecond: number;
  readonly #burst: number;
  #tokens: number;
  #filledMs: number;

  constructor(options: { clock: Clock; perSecond: number; burst: number }) {
    this.#clock = options.clock;
    this.#perSecond = options.perSecond;
    this.#burst = options.burst;
    this.#tokens = options.burst;
    this.#filledMs = options.clock.monotonic();
  }

  /** False when the limit is used up. */
  take(): boolean {
    const nowMs = this.#clock.monotonic();
    this.#tokens = Math.min(this.#burst, this.#tokens + ((nowMs - this.#filledMs) / 1_000) * this.#perSecond);
    this.#filledMs = nowMs;
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }
}

/** Tells once when nothing was heard for `limitMs`. Not started, or stopped, it tells nothing. */
export class SilenceLimit {
  readonly #clock: Clock;
  readonly #limitMs: number;
  readonly #silent: () => void;
  #heardMs: number;
  #timer: TimerId | null = null;

  constructor(options: { clock: Clock; limitMs: number; silent: () => void }) {
    this.#clock = options.clock;
    this.#limitMs = options.limitMs;
    this.#silent = options.silent;
    this.#heardMs = options.clock.monotonic();
  }

  /** Since something was heard, ms. */
  get silentMs(): number {
    return this.#clock.monotonic() - this.#heardMs;
  }

  heard(): void {
    this.#heardMs = this.#clock.monotonic();
  }

  /** One timer for many frames: it looks how long ago the last one was. */
  start(): void {
    this.#timer = this.#clock.setTimeout(
      () => {
        this.#timer = null;
        if (this.silentMs >= this.#limitMs) this.#silent();
        else this.start();
      },
      Math.max(1, this.#limitMs - this.silentMs),
    );
  }

  stop(): void {
    if (this.#timer !== null) this.#clock.clearTimeout(this.#timer);
    this.#timer = null;
  }
}
