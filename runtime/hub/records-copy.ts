import type { Clock } from '#protocol/env.ts';

/**
 * A copy of something small in Records, read again when it is old. Callers that find it old share one
 * read; an answer that comes after that of a read which was begun later is dropped, because it may not
 * know of the newest word.
 */
export class RecordsCopy<T> {
  readonly #read: () => Promise<T>;
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #refreshMs: number;
  #value: T;
  /** When what is shown was asked for. */
  #readMs = Number.NEGATIVE_INFINITY;
  /** Numbers of the newest read, and of the newest whose answer is shown. */
  #begun = 0;
  #shown = 0;
  #reading: Promise<void> | null = null;

  /** `refreshMs`: the age at which it is old. `value` is shown until the first read. */
  constructor(options: {
    read: () => Promise<T>;
    clock: Pick<Clock, 'monotonic'>;
    refreshMs: number;
    value: T;
  }) {
    this.#read = options.read;
    this.#clock = options.clock;
    this.#refreshMs = options.refreshMs;
    this.#value = options.value;
  }

  get value(): T {
    return this.#value;
  }

  /** Reads it now: after a change of one's own. */
  async refresh(): Promise<void> {
    const turn = ++this.#begun;
    const askedMs = this.#clock.monotonic();
    const value = await this.#read();
    if (turn < this.#shown) return;
    this.#shown = turn;
    this.#value = value;
    this.#readMs = askedMs;
  }

  async refreshIfOld(): Promise<void> {
    const nowMs = this.#clock.monotonic();
    // A read that had begun before may be too old for this caller.
    while (nowMs - this.#readMs >= this.#refreshMs) {
      this.#reading ??= this.refresh().finally(() => {
        this.#reading = null;
      });
      await this.#reading;
    }
  }
}
