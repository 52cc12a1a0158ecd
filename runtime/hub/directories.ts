import type { Env } from '#protocol/env.ts';
import { toEmpError } from '#protocol/errors.ts';

/** What claims and beats wait for a store that is slow to answer, ms: far below any lease. */
const patienceMs = 250;

/** Age at which the directories are asked whether they are old, ms: every claim and beat comes by here. */
const askMs = 1_000;

/** A copy of something in Records that is read again when it is old. */
interface Directory {
  refreshIfOld(): Promise<void>;
}

/**
 * The directories that claims and beats look into. Running work goes on while Records do not answer, by
 * refusal or by silence (docs/protocol.md §1): a beat that waited for a directory's sake would end every
 * lease. What is known is used; a job of a newer group waits.
 */
export class Directories {
  readonly #directories: readonly Directory[];
  readonly #env: Env;
  readonly #background: (reading: Promise<void>) => void;
  #askedMs = Number.NEGATIVE_INFINITY;
  #reading: { done: Promise<void>; sinceMs: number } | null = null;

  constructor(options: {
    directories: readonly Directory[];
    env: Env;
    background: (reading: Promise<void>) => void;
  }) {
    this.#directories = options.directories;
    this.#env = options.env;
    this.#background = options.background;
  }

  /** Resolves when all are as new as they have to be, or when that takes too long. Never rejects. */
  async refresh(): Promise<void> {
    const { clock } = this.#env;
    if (this.#reading === null && clock.monotonic() - this.#askedMs < askMs) return;
    const reading = this.#reading ?? this.#begin();
    const leftMs = reading.sinceMs + patienceMs - clock.monotonic();
    if (leftMs <= 0) return;
    await new Promise<void>((resolve) => {
      const timer = clock.setTimeout(resolve, leftMs);
      void reading.done.finally(() => {
        clock.clearTimeout(timer);
        resolve();
      });
    });
  }

  #begin() {
    const done = this.#read().finally(() => {
      this.#reading = null;
    });
    this.#background(done);
    this.#reading = { done, sinceMs: this.#env.clock.monotonic() };
    return this.#reading;
  }

  async #read(): Promise<void> {
    try {
      for (const directory of this.#directories) await directory.refreshIfOld();
      this.#askedMs = this.#env.clock.monotonic();
    } catch (error) {
      const { code, message } = toEmpError(error, 'RECORDS_UNAVAILABLE');
      this.#env.log.warn('directories.old', { code, detail: message });
    }
  }
}
