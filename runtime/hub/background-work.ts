import type { Env, TimerId } from '#protocol/env.ts';
import { toEmpError } from '#protocol/errors.ts';

/** Promises that nobody waits for: none is lost, none rejects unseen, and a stop can wait for all. */
export class BackgroundWork {
  readonly #env: Env;
  readonly #open = new Set<Promise<void>>();

  constructor(env: Env) {
    this.#env = env;
  }

  add(name: string, work: Promise<unknown>): void {
    const watched = work
      .then(
        () => undefined,
        (error: unknown) => {
          const failure = toEmpError(error);
          const fields = { work: name, code: failure.code, detail: failure.message };
          if (failure.code === 'INTERNAL')
            this.#env.log.error('background.failed', { ...fields, stack: failure.stack ?? null });
          else this.#env.log.warn('background.failed', fields);
        },
      )
      .finally(() => this.#open.delete(watched));
    this.#open.add(watched);
  }

  /** Resolves when nothing is open any more, also what open work began, or after `limitMs`. */
  async settle(limitMs: number): Promise<void> {
    const { clock } = this.#env;
    const untilMs = clock.monotonic() + limitMs;
    while (this.#open.size > 0) {
      const leftMs = untilMs - clock.monotonic();
      if (leftMs <= 0) {
        this.#env.log.warn('background.abandoned', { open: this.#open.size });
        return;
      }
      let timer: TimerId | null = null;
      const late = new Promise<void>((resolve) => {
        timer = clock.setTimeout(resolve, leftMs);
      });
      await Promise.race([Promise.all(this.#open), late]);
      clock.clearTimeout(timer);
    }
  }
}
