import type { Broker } from '#protocol/broker.ts';
import type { Env } from '#protocol/env.ts';
import { toEmpError } from '#protocol/errors.ts';
import type { Records } from '#protocol/records.ts';
import type { GroupDirectory } from './group-directory.ts';
import type { Lanes } from './lanes.ts';
import { RecordsCopy } from './records-copy.ts';

/** Age at which the count is read again, ms. */
const refreshMs = 1_000;

/**
 * How many jobs wait and where, for limits, expectations and claims: read at most once a second, and only
 * when somebody asks.
 */
export class Backlog {
  readonly #broker: Broker;
  readonly #env: Env;
  readonly #groups: GroupDirectory;
  readonly #lanes: Lanes;
  /** Apart from the rest: claims ask for what waits, and must not need Records for it. */
  readonly #held: RecordsCopy<number>;
  #waiting = 0;
  #readMs = Number.NEGATIVE_INFINITY;
  #reading: Promise<void> | null = null;

  constructor(options: {
    broker: Broker;
    records: Records;
    env: Env;
    groups: GroupDirectory;
    lanes: Lanes;
  }) {
    this.#broker = options.broker;
    this.#env = options.env;
    this.#groups = options.groups;
    this.#lanes = options.lanes;
    const { records, env } = options;
    const read = async () => (await records.countJobs({ state: ['held'] })).held;
    this.#held = new RecordsCopy({ read, clock: env.clock, refreshMs, value: 0 });
  }

  /** Waiting and delayed jobs; the last known count while the Broker does not answer. */
  async waiting(): Promise<number> {
    if (this.#env.clock.monotonic() - this.#readMs >= refreshMs) {
      this.#reading ??= this.#read();
      await this.#reading;
    }
    return this.#waiting;
  }

  /** Those, and what limits hold in Records, as of the last second where both stores answer at once. Rejects when Records fail. */
  async accepted(): Promise<number> {
    await this.#held.refreshIfOld();
    return (await this.waiting()) + this.#held.value;
  }

  async #read(): Promise<void> {
    try {
      const stats = await this.#broker.stats();
      this.#waiting = stats.waiting + stats.delayed;
      this.#groups.noteWaiting(stats.groups);
      this.#lanes.noteStats(stats.lanes);
    } catch (error) {
      this.#env.log.warn('backlog.unknown', { detail: toEmpError(error, 'BROKER_UNAVAILABLE').message });
    }
    this.#readMs = this.#env.clock.monotonic();
    this.#reading = null;
  }
}
