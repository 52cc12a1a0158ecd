import type { Clock, TimerId } from '#protocol/env.ts';

/** Where virtual time begins unless told otherwise: 2026-01-01T00:00:00Z, ms since 1970. */
export const virtualStartMs = 1_767_225_600_000;

/** More timers than this at one instant: something of delay 0 re-arms itself and time stands still. */
const timersPerInstantLimit = 100_000;
/** More timers than this in one advance: the span is far too long for what runs, or never ends. */
const timersPerAdvanceLimit = 50_000_000;

interface Timer {
  dueMs: number;
  seq: number;
  /** Cleared timers stay in the heap with null until they come up or too many have gathered. */
  fn: (() => void) | null;
}

const before = (a: Timer, b: Timer) => (a.dueMs === b.dueMs ? a.seq < b.seq : a.dueMs < b.dueMs);

/**
 * Time that moves only when a test or a driver moves it. Timers fire in order of their time, equal
 * ones in order of creation, each at its own time: a delay armed inside a timer counts from there.
 * After each timer all microtasks run to their end, so that promise chains never see time jump ahead
 * of them. `monotonic()` begins at 0; wall time begins at `startMs` and may be moved apart from it.
 */
export class VirtualClock implements Clock {
  readonly #heap: Timer[] = [];
  readonly #startMs: number;
  #elapsedMs = 0;
  #wallOffsetMs = 0;
  #seq = 0;
  #cleared = 0;
  #fired = 0;
  #advancing = false;
  #firedAtInstant = 0;
  readonly #afterTurn: (() => Promise<void>) | null;

  /**
   * `afterTurn` is awaited in every `settle`, for real I/O (a Redis, a file) that a timer started:
   * virtual time waits for it. It resolves when nothing is under way any more.
   */
  constructor(options: { startMs?: number; afterTurn?: () => Promise<void> } = {}) {
    this.#startMs = options.startMs ?? virtualStartMs;
    this.#afterTurn = options.afterTurn ?? null;
  }

  /** Whole ms, as the system's clock tells them; `monotonic()` may be in between. */
  now(): number {
    return Math.floor(this.#startMs + this.#elapsedMs + this.#wallOffsetMs);
  }

  monotonic(): number {
    return this.#elapsedMs;
  }

  setTimeout(fn: () => void, delayMs: number): TimerId {
    if (!Number.isFinite(delayMs)) throw new RangeError(`a timer needs a finite delay, got ${delayMs} ms`);
    const timer: Timer = { dueMs: this.#elapsedMs + Math.max(0, delayMs), seq: this.#seq++, fn };
    this.#heap.push(timer);
    this.#up(this.#heap.length - 1);
    return timer;
  }

  clearTimeout(id: TimerId): void {
    const timer = id as Timer | null | undefined;
    if (!timer?.fn) return;
    timer.fn = null;
    this.#cleared++;
    if (this.#cleared > 1_000 && this.#cleared > this.#heap.length / 2) this.#compact();
  }

  /** Timers that are armed and not cleared. */
  get pending(): number {
    return this.#heap.length - this.#cleared;
  }

  /** Timers fired since the beginning. */
  get fired(): number {
    return this.#fired;
  }

  /** `monotonic()` time of the next timer, null if none is armed. */
  get nextMs(): number | null {
    this.#dropCleared();
    return this.#heap[0]?.dueMs ?? null;
  }

  /** Moves wall time by `byMs` (negative: back) and nothing else: no timer comes nearer by it. */
  jumpWall(byMs: number): void {
    this.#wallOffsetMs += byMs;
  }

  /** Advances to `toMs` of `monotonic()`, firing every timer on the way, the ones at `toMs` included. */
  async advanceTo(toMs: number): Promise<void> {
    if (!(toMs >= this.#elapsedMs)) {
      throw new RangeError(`time does not go back: it is ${this.#elapsedMs} ms, asked for ${toMs} ms`);
    }
    if (this.#advancing) throw new Error('the clock is being advanced already: await the earlier call');
    this.#advancing = true;
    try {
      await this.settle();
      const limit = this.#fired + timersPerAdvanceLimit;
      for (;;) {
        const next = this.nextMs;
        if (next === null || next > toMs) break;
        if (this.#fired >= limit)
          throw new Error(`over ${timersPerAdvanceLimit} timers fired before ${toMs} ms`);
        this.#fireNext();
        await this.settle();
      }
      this.#moveTo(toMs);
    } finally {
      this.#advancing = false;
    }
  }

  async advanceBy(byMs: number): Promise<void> {
    await this.advanceTo(this.#elapsedMs + byMs);
  }

  /**
   * Fires the next timer alone, at its time, without running microtasks: for a driver that decides
   * itself what happens in between. False if there is none.
   */
  step(): boolean {
    if (this.nextMs === null) return false;
    this.#fireNext();
    return true;
  }

  /** Moves time to `toMs` of `monotonic()` where no timer is due before it: the end of a span. */
  skipTo(toMs: number): void {
    const next = this.nextMs;
    if (toMs < this.#elapsedMs || (next !== null && next < toMs)) {
      throw new RangeError(
        `cannot skip to ${toMs} ms: it is ${this.#elapsedMs} ms and a timer is due at ${next} ms`,
      );
    }
    this.#moveTo(toMs);
  }

  /** Resolves when all microtasks that were queued, and those that they queued, have run. */
  settle(): Promise<void> {
    // biome-ignore lint/style/noRestrictedGlobals: one real turn of the event loop drains microtasks; virtual time stands still meanwhile.
    const turn = new Promise<void>((resolve) => setImmediate(resolve));
    return this.#afterTurn === null ? turn : turn.then(this.#afterTurn);
  }

  #moveTo(toMs: number): void {
    if (toMs > this.#elapsedMs) this.#firedAtInstant = 0;
    this.#elapsedMs = toMs;
  }

  #fireNext(): void {
    const timer = this.#pop();
    if (!timer?.fn) return;
    this.#moveTo(timer.dueMs);
    if (++this.#firedAtInstant > timersPerInstantLimit) {
      throw new Error(
        `time stands still: over ${timersPerInstantLimit} timers fired at ${this.#elapsedMs} ms; one of delay 0 re-arms itself: ${String(timer.fn).slice(0, 300)}`,
      );
    }
    this.#fired++;
    const fn = timer.fn;
    timer.fn = null;
    fn();
  }

  #dropCleared(): void {
    while (this.#heap[0]?.fn === null) {
      this.#pop();
      this.#cleared--;
    }
  }

  #compact(): void {
    const alive = this.#heap.filter((timer) => timer.fn !== null).sort((a, b) => (before(a, b) ? -1 : 1));
    this.#heap.splice(0, this.#heap.length, ...alive);
    this.#cleared = 0;
  }

  #pop(): Timer | undefined {
    const heap = this.#heap;
    const top = heap[0];
    const last = heap.pop();
    if (top === undefined || last === undefined || top === last) return top;
    heap[0] = last;
    this.#down();
    return top;
  }

  #up(from: number): void {
    const heap = this.#heap;
    const timer = heap[from] as Timer;
    let at = from;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent] as Timer;
      if (!before(timer, above)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = timer;
  }

  #down(): void {
    const heap = this.#heap;
    const timer = heap[0] as Timer;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      const left = heap[child];
      if (left === undefined) break;
      const right = heap[child + 1];
      const smaller = right !== undefined && before(right, left) ? right : left;
      if (smaller === right) child++;
      if (!before(smaller, timer)) break;
      heap[at] = smaller;
      at = child;
    }
    heap[at] = timer;
  }
}
