import type { Env, TimerId } from '#protocol/env.ts';
import { type ErrorCode, toEmpError } from '#protocol/errors.ts';

/**
 * One piece of standing work that runs alone: poked by whoever made work for it, or by its own next
 * date. It never polls: `run` answers how long until it wants to run again, null = when poked.
 * `told`: somebody has poked since the last run began, or that one failed; a date alone is no word.
 * A run that throws is tried again after `retryMs`, doubled up to sixteen times that.
 */
export class PokedTask {
  readonly #options: {
    name: string;
    env: Env;
    run: (told: boolean) => Promise<number | null>;
    retryMs: number;
  };
  #timer: TimerId | null = null;
  #dueMonotonicMs = Number.POSITIVE_INFINITY;
  #running: Promise<void> | null = null;
  #pokedMeanwhileMs: number | null = null;
  #told = false;
  #failures = 0;
  #stopped = false;
  #lastError: ErrorCode | null = null;

  constructor(options: {
    name: string;
    env: Env;
    run: (told: boolean) => Promise<number | null>;
    retryMs: number;
  }) {
    this.#options = options;
  }

  /** Code of the last run's error; null when it went well. For readiness and status. */
  get lastError(): ErrorCode | null {
    return this.#lastError;
  }

  /** Runs at the latest `delayMs` from now; an earlier date stands. While it runs, once more after that. */
  poke(delayMs = 0): void {
    this.#told = true;
    this.#runWithin(delayMs);
  }

  #runWithin(delayMs: number): void {
    if (this.#stopped) return;
    if (this.#running !== null) {
      this.#pokedMeanwhileMs = Math.min(this.#pokedMeanwhileMs ?? delayMs, delayMs);
      return;
    }
    const { clock } = this.#options.env;
    const dueMs = clock.monotonic() + Math.max(0, delayMs);
    if (dueMs >= this.#dueMonotonicMs) return;
    if (this.#timer !== null) clock.clearTimeout(this.#timer);
    this.#dueMonotonicMs = dueMs;
    this.#timer = clock.setTimeout(() => this.#start(), Math.max(0, delayMs));
  }

  /** Runs at the latest then, by the wall clock; null changes nothing. Not sooner than `leastMs`, against clocks that disagree. */
  pokeAt(atMs: number | null, leastMs = 1): void {
    if (atMs !== null) this.#runWithin(Math.max(leastMs, atMs - this.#options.env.clock.now()));
  }

  #start(): void {
    this.#timer = null;
    this.#dueMonotonicMs = Number.POSITIVE_INFINITY;
    this.#running = this.#runOnce().then((nextMs) => {
      this.#running = null;
      const poked = this.#pokedMeanwhileMs;
      this.#pokedMeanwhileMs = null;
      if (poked !== null) this.#runWithin(poked);
      if (nextMs !== null) this.#runWithin(nextMs);
    });
  }

  async #runOnce(): Promise<number | null> {
    const told = this.#told || this.#failures > 0;
    this.#told = false;
    try {
      const nextMs = await this.#options.run(told);
      this.#failures = 0;
      this.#lastError = null;
      return nextMs;
    } catch (error) {
      const failure = toEmpError(error);
      this.#failures = Math.min(this.#failures + 1, 5);
      this.#lastError = failure.code;
      const { env, name, retryMs } = this.#options;
      const waitMs = retryMs * 2 ** (this.#failures - 1);
      env.log.warn('task.failed', {
        task: name,
        code: failure.code,
        detail: failure.message,
        retryMs: waitMs,
      });
      return waitMs;
    }
  }

  /** Runs no more; resolves when the run under way has ended. */
  async stop(): Promise<void> {
    this.#stopped = true;
    if (this.#timer !== null) this.#options.env.clock.clearTimeout(this.#timer);
    this.#timer = null;
    await this.#running;
  }
}
