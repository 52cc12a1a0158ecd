import { type Clock, sleep } from '#protocol/env.ts';

/** Longest that a turn waits before it looks again whether the pace was changed, ms. */
const lookMs = 20;
/** A load that fell behind catches up on no more than this, ms. */
const catchUpMs = 100;

/** When clients may hand in the next job: so many a second, and none above a number until it is raised. */
export class Pace {
  readonly #clock: Clock;
  readonly #signal: AbortSignal;
  #everyMs = 1;
  #upTo = 0;
  #lastAtMs = Number.NEGATIVE_INFINITY;
  #last: Promise<void> = Promise.resolve();

  /** Nothing may go before the first `set`. */
  constructor(clock: Clock, signal: AbortSignal) {
    this.#clock = clock;
    this.#signal = signal;
  }

  /** From now on `perSecond`, up to the job with the number `upTo`. */
  set({ perSecond, upTo }: { perSecond: number; upTo: number }): void {
    this.#everyMs = 1_000 / perSecond;
    this.#upTo = upTo;
    // What was missed under the pace before is not caught up with.
    this.#lastAtMs = Math.max(this.#lastAtMs, this.#clock.monotonic() - this.#everyMs);
  }

  /** Resolves when the job may go; jobs go in the order of the calls. Rejects when the signal aborts. */
  turn(number: number): Promise<void> {
    const mine = this.#last.then(() => this.#wait(number));
    this.#last = mine;
    return mine;
  }

  async #wait(number: number): Promise<void> {
    for (;;) {
      const nowMs = this.#clock.monotonic();
      const dueMs = this.#lastAtMs + this.#everyMs;
      if (number <= this.#upTo && dueMs <= nowMs) {
        this.#lastAtMs = Math.max(dueMs, nowMs - catchUpMs);
        return;
      }
      await sleep(this.#clock, dueMs > nowMs ? Math.min(lookMs, dueMs - nowMs) : lookMs, this.#signal);
    }
  }
}
