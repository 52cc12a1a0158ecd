import type { Clock, TimerId } from '#protocol/env.ts';

interface Timer {
  dueMs: number;
  seq: number;
  fn: (() => void) | null;
}

/**
 * The clock of one machine, which may run slower than the world's: a machine that has nothing to do
 * beats, probes and reads its card at its own pace, and a day of waiting costs a fraction. Its charts
 * notice nothing, because their monotonic time slows down as a whole; wall time is the world's. At
 * factor 1 it is the world's clock. Timers keep their order, and what is left of each is rescaled when
 * the factor changes.
 */
export class SlowClock implements Clock {
  readonly #world: Clock;
  #factor = 1;
  #ownMs = 0;
  #sinceMs: number;
  #seq = 0;
  /** By due time, then by age; few at a time. */
  readonly #timers: Timer[] = [];
  #armed: { id: TimerId; timer: Timer } | null = null;

  constructor(world: Clock) {
    this.#world = world;
    this.#sinceMs = world.monotonic();
  }

  now(): number {
    return this.#world.now();
  }

  monotonic(): number {
    return this.#ownMs + (this.#world.monotonic() - this.#sinceMs) / this.#factor;
  }

  /** How many ms of the world one own ms takes, 1 or more. */
  set factor(factor: number) {
    if (!(factor >= 1))
      throw new RangeError(`a machine's clock runs at most as fast as the world's, got ${factor}`);
    if (factor === this.#factor) return;
    this.#ownMs = this.monotonic();
    this.#sinceMs = this.#world.monotonic();
    this.#factor = factor;
    this.#disarm();
    this.#arm();
  }

  setTimeout(fn: () => void, delayMs: number): TimerId {
    const timer: Timer = { dueMs: this.monotonic() + Math.max(0, delayMs), seq: this.#seq++, fn };
    let at = this.#timers.length;
    while (at > 0 && (this.#timers[at - 1] as Timer).dueMs > timer.dueMs) at--;
    this.#timers.splice(at, 0, timer);
    this.#arm();
    return timer;
  }

  clearTimeout(id: TimerId): void {
    const timer = id as Timer | null | undefined;
    if (!timer?.fn) return;
    timer.fn = null;
    this.#timers.splice(this.#timers.indexOf(timer), 1);
    if (this.#armed?.timer === timer) this.#disarm();
    this.#arm();
  }

  /** One timer of the world stands for the first of these. */
  #arm(): void {
    const [first] = this.#timers;
    if (this.#armed?.timer === first) return;
    this.#disarm();
    if (first === undefined) return;
    const delayMs = Math.max(0, (first.dueMs - this.monotonic()) * this.#factor);
    this.#armed = { timer: first, id: this.#world.setTimeout(() => this.#fire(first), delayMs) };
  }

  #disarm(): void {
    if (this.#armed !== null) this.#world.clearTimeout(this.#armed.id);
    this.#armed = null;
  }

  #fire(timer: Timer): void {
    this.#armed = null;
    this.#timers.splice(this.#timers.indexOf(timer), 1);
    const fn = timer.fn;
    timer.fn = null;
    this.#arm();
    fn?.();
  }
}
