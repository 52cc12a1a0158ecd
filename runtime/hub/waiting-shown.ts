import type { Clock } from '#protocol/env.ts';
import type { CountedWork } from '#protocol/limit.ts';
import type { Records } from '#protocol/records.ts';
import { stepsOf } from './waiting-counts.ts';

/** To which what is shown is counted: one more than is told as a number. */
const shownLimit = 10_001;
/** How long counting for one who looks may keep the hub, ms; one step alone may take longer. */
const passMs = 50;
/** Nothing is counted again before so many times what counting took: a twentieth of the hub's time. */
const costFactor = 20;
/** Counts that are kept. */
const keptLimit = 10_000;

/**
 * How many jobs wait, for people who look. A few are counted at once, with a turn of the event loop after
 * them, and all take at most a twentieth of the hub's time: beyond, what was counted before is shown.
 */
export class ShownCounts {
  readonly #records: Pick<Records, 'countWaiting'>;
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #nextTurn: (fn: () => void) => void;
  /** Longest ago first. */
  readonly #known = new Map<string, number>();
  #nextMs = Number.NEGATIVE_INFINITY;
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: {
    records: Pick<Records, 'countWaiting'>;
    env: { clock: Pick<Clock, 'monotonic'> };
    nextTurn: (fn: () => void) => void;
  }) {
    this.#records = options.records;
    this.#clock = options.env.clock;
    this.#nextTurn = options.nextTurn;
  }

  /**
   * How many wait of each: 10 001 = more than 10 000, null = not counted yet. Rejects when Records fail.
   */
  async of(asked: readonly CountedWork[]): Promise<(number | null)[]> {
    const keys = asked.map(keyOf);
    // One after the other: who comes meanwhile finds what was counted.
    const before = this.#last;
    const own = before.then(() => this.#pass(asked));
    this.#last = own.then(
      () => undefined,
      () => undefined,
    );
    await own;
    return keys.map((key) => this.#known.get(key) ?? null);
  }

  async #pass(asked: readonly CountedWork[]): Promise<void> {
    if (this.#clock.monotonic() < this.#nextMs) return;
    const places = new Map([...this.#known.keys()].map((key, place) => [key, place]));
    const placeOf = (each: CountedWork) => places.get(keyOf(each)) ?? -1;
    let keptMs = 0;
    try {
      const oldest = asked.toSorted((a, b) => placeOf(a) - placeOf(b));
      for (const step of stepsOf(oldest, questionOf)) {
        if (keptMs >= passMs) break;
        const atMs = this.#clock.monotonic();
        const answering = this.#records.countWaiting(step.map(questionOf));
        // As for submissions: what keeps the hub is over when the call comes back.
        keptMs += this.#clock.monotonic() - atMs;
        for (const [index, count] of (await answering).entries()) {
          const key = keyOf(step[index] as CountedWork);
          this.#known.delete(key);
          this.#known.set(key, count);
        }
        await new Promise<void>(this.#nextTurn);
      }
    } finally {
      this.#nextMs = this.#clock.monotonic() + costFactor * keptMs;
      for (const [key] of this.#known) if (this.#known.size > keptLimit) this.#known.delete(key);
    }
  }
}

const questionOf = (counted: CountedWork) => ({ ...counted, limit: shownLimit });
const keyOf = ({ customer, pool, model }: CountedWork) => JSON.stringify([customer, pool, model]);
